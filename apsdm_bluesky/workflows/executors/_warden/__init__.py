"""The program that runs tasks and ends with its parent: standard library only, so that a fork of it is cheap.

The executor starts the folder by its path (`__main__.py`). Below it stands one keeper a task, a fork that
adopts whatever the task leaves behind, and so knows when all of it has ended:

    executor -> warden -> keeper -> the task's process -> ...

Orders come as JSON lines on stdin; keepers and warden tell by JSON lines on the same stdout.
"""
