"""What stays: pcapng segments and Parquet tables, laid out by hour, published by rename.

Neighbours: `processor.service` hands in batches and rows; DuckDB is used in `tables` and nowhere else. A file is
published when it is closed, or in two phases (`pending`): when what it holds was settled.

Does not belong here: deciding what is kept; the meaning of columns (`packhound.fields`).
"""
