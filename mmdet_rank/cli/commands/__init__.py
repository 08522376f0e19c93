"""One file a subcommand of ``mmdet-rank``; ``mmdet_rank.cli.main`` has their table.

The first lines of a file's docstring and its examples are the help of the subcommand. The file
has two functions: ``add_arguments(parser)`` says what the subcommand takes, and ``run(args)`` does
it, with all that is slow to import imported inside. ``run`` returns the exit code or None for 0,
and raises ``UserError`` or ``OSError`` for a mistake of the user; the ``ValueError`` of a function
that is called becomes the former by `mmdet_rank.cli.errors.refused_input`.
"""
