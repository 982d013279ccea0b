// Package kindconfig loads kind-config.yaml with kind's own packages: strict decoding, defaults, validation.
//
// kind keeps its loader internal; the public way to it is to create a cluster. A stand-in for the docker command lets
// kind come as far as its first container, and no further.
package kindconfig

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/kind/pkg/cluster"
)

const (
	configFile = "../../kind-config.yaml"
	// The first thing that kind does about a configuration that it accepts, and that the stand-in doesn't do for it.
	accepted = "docker network"
	// Answers what kind asks before: is docker there, which clusters exist, is the node image here.
	docker = `#!/bin/sh
case "$1" in
info) echo '{"CgroupDriver":"cgroupfs","CgroupVersion":"2","MemoryLimit":true,"PidsLimit":true,"CPUShares":true}' ;;
ps | inspect) ;;
*) exit 1 ;;
esac
`
)

// load gives what kind says about a configuration file; it always says something, since nothing can be created.
func load(t *testing.T, file string) string {
	t.Helper()
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "docker"), []byte(docker), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	provider := cluster.NewProvider(cluster.ProviderWithDocker())
	err := provider.Create("", cluster.CreateWithConfigFile(file), cluster.CreateWithKubeconfigPath(filepath.Join(bin, "config")))
	if err == nil {
		t.Fatal("a cluster was created without an engine")
	}
	return err.Error()
}

// changed writes a copy of the configuration with one text replaced.
func changed(t *testing.T, old, new string) string {
	t.Helper()
	content, err := os.ReadFile(configFile)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(content), old) != 1 {
		t.Fatalf("%q isn't there once", old)
	}
	file := filepath.Join(t.TempDir(), "kind-config.yaml")
	if err := os.WriteFile(file, []byte(strings.Replace(string(content), old, new, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestKindAcceptsTheFile(t *testing.T) {
	if said := load(t, configFile); !strings.Contains(said, accepted) {
		t.Errorf("kind refuses kind-config.yaml: %s", said)
	}
}

func TestKindRefusesChangedFiles(t *testing.T) {
	for name, change := range map[string]struct{ old, new, says string }{
		"unknown field":      {"role: control-plane", "role: control-plane\n  sockets: 2", "field sockets not found"},
		"unknown role":       {"role: control-plane", "role: control-tower", "control-tower"},
		"no such network":    {"nodes:", "networking: {podSubnet: everywhere}\nnodes:", "everywhere"},
		"other API version":  {"v1alpha4", "v1alpha9", "unknown apiVersion"},
		"mount without path": {"    containerPath: /var/lib/mandate/volumes", "    propagation: Sideways", "Unknown MountPropagation"},
	} {
		t.Run(name, func(t *testing.T) {
			if said := load(t, changed(t, change.old, change.new)); !strings.Contains(said, change.says) {
				t.Errorf("kind said %q, expected %q", said, change.says)
			}
		})
	}
}
