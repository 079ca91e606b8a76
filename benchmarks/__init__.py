"""How fast fastjac is, beside the machine's roof and beside its peers. ``fastjac bench`` runs it; see README.md here."""
