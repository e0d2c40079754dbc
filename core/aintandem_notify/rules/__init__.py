"""Turns an event into notifications and their destinations: pure decisions over the config's rules."""

from aintandem_notify.rules.globs import EventFilter
from aintandem_notify.rules.overview import Route, misread_durations
from aintandem_notify.rules.router import RoutedNotification, Router
from aintandem_notify.rules.templates.templating import JinjaRuleLanguage

__all__ = ["EventFilter", "JinjaRuleLanguage", "Route", "RoutedNotification", "Router", "misread_durations"]
