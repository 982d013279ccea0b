"""The operator: kopf feeds a store, a queue decides what to look at, gather → decide → apply does the rest."""
