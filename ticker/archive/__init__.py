"""What has aged out of Redis, as Parquet files: written by the ingester, read by gateways and by any other program."""
