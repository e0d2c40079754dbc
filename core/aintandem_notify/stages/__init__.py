"""Decides when a notification is told: at once, later, together with others, or never.

Pure: functions of the config, the notification, the open windows, the silences and the time.
"""
