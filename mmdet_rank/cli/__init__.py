"""The command ``mmdet-rank``, and what its subcommands share.

``commands/`` has one file a subcommand, which reads the arguments and loads nothing heavy before;
the modules here do the work.
"""
