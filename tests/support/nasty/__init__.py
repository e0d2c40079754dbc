"""Inputs that broke an agent once, and their kin: a module a channel, each a named collection that tests run over.

A test of a channel takes all of its channel's list, and what breaks the next time is added here, under a name that
says what is odd about it. Nothing here knows the agent: the tests say what is right.

    from support.nasty import texts

    @pytest.mark.parametrize("text", texts.TEXTS.values(), ids=texts.TEXTS)

`texts`              texts, ids and JSON values of events, and of what REST tells
`times`              timestamps, and zones to read them in
`orchestrator_http`  answers of the orchestrator to REST calls and to the upgrade
`receivers_http`     answers of whoever a destination posts to
`configs`            config files, environments, secret files and folders
`process`            surroundings of the process: descriptors, limits, zones, locales
`plugins`            sources of plugins
`templates`          texts of rules that ask for hours or gigabytes, harmless and odd ones
`local_user`         first bytes on a port of loopback, from somebody without a token

No secret in it is one: each holds the word canary, or is the example of its maker's documentation.
"""
