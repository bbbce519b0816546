"""Inbox -> verdict -> folder: the service that runs on the line PC."""
