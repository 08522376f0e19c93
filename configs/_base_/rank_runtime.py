# Registers the losses, heads, hooks and metrics of this package.
custom_imports = dict(imports=['mmdet_rank.register'], allow_failed_imports=False)
