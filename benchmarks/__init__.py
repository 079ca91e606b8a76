"""How fast fastjac is, beside the machine's roof and beside its peers: ``fastjac bench``. See README.md here."""
