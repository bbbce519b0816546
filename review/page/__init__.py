"""The operator's page: a small web application that shows what was judged, and takes words.

It reads the ledger, the records and the pictures, and writes by the same code as `solderwatch relabel`.
"""
