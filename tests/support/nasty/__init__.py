"""Inputs that broke an agent once, and their kin: a module a channel, each a named collection that tests run over.

A test of a channel takes the whole list of its channel. A new input that breaks the agent is added here, under a
name that describes it. Nothing here knows the agent: the tests say which result is right.

    from support.nasty import texts

    @pytest.mark.parametrize("text", texts.TEXTS.values(), ids=texts.TEXTS)

`texts`              texts, ids and JSON values of events, and of REST records
`times`              timestamps, and zones to read them in
`orchestrator_http`  answers of the orchestrator to REST calls and to the upgrade
`receivers_http`     answers of whoever a destination posts to
`pages`              pages of HTML in the place of a service, and other bodies
`configs`            config files, environments, secret files and folders
`process`            the environment of the process: descriptors, limits, zones, locales
`plugins`            sources of plugins
`templates`          texts of rules that ask for hours or gigabytes, harmless and odd ones
`local_user`         first bytes on a port of loopback, from somebody without a token

No secret in it is one: each holds the word canary, or is the example of its maker's documentation.
"""
