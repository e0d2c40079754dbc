"""Looks after deliveries that wait: folds a large backlog, hands old ones to the fallback, gives them up."""
