module grassflow

go 1.19
