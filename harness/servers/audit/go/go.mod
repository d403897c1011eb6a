module stormlab/audit

go 1.16
