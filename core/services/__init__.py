"""The verbs of the product, one file for each thing they are about; each calls the rooms below."""
