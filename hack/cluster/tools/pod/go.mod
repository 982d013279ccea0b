module mandate.dev/hack/cluster/tools/pod

go 1.24.0
