package install_test

import (
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/certs"
	"github.com/jobgate/jobgate/internal/install"
	"github.com/jobgate/jobgate/internal/installtest"
)

// repository is where the package manifests has its files.
const repository = "../../manifests"

// defaults are the options whose outcome is what the repository shows.
func defaults(t *testing.T, name string) install.Options {
	t.Helper()
	return install.Options{
		Target: name, NodeDir: lookup(t, name).NodeDir, Dir: "/home/admin/jobgate-talos",
		GitLabURL: "https://gitlab.example.com", Agents: []install.Agent{{ID: 4}},
		Address: "127.0.0.1:9443", HealthAddress: "127.0.0.1:9444", Image: "ghcr.io/jobgate/jobgate:VERSION",
		Program: "/usr/local/bin/jobgate",
		PKI: map[string][]byte{
			certs.CAFile: []byte("an authority\n"), certs.ServingFile: []byte("one pair\n"), certs.ClientFile: []byte("another\n"),
		},
	}
}

// elsewhere are options of which none is what the repository shows.
func elsewhere(t *testing.T, name string) install.Options {
	t.Helper()
	o := defaults(t, name)
	o.NodeDir, o.Image = "/var/opt/job_gate-1.x", "registry.example.com:5000/ci/jobgate@sha256:0123abcd"
	o.Address, o.HealthAddress = "127.0.0.2:20001", "127.0.0.2:20002"
	return o
}

func lookup(t *testing.T, name string) install.Target {
	t.Helper()
	target, err := install.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

func deploy(t *testing.T, o install.Options) install.Deployment {
	t.Helper()
	d, err := lookup(t, o.Target).Deploy(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func read(t *testing.T, o install.Options) *installtest.Reading {
	t.Helper()
	r, err := installtest.Read(o.Target, deploy(t, o).Files)
	if err != nil {
		t.Fatalf("the target would not read its files: %v", err)
	}
	return r
}

func TestTargets_WithTheDefaultsTheFilesAreThoseOfTheRepository(t *testing.T) {
	for _, name := range installtest.Names() {
		t.Run(name, func(t *testing.T) {
			shown := map[string]string{}
			entries, err := os.ReadDir(filepath.Join(repository, name))
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				text, err := os.ReadFile(filepath.Join(repository, name, e.Name()))
				if err != nil {
					t.Fatal(err)
				}
				shown[path.Join(install.DeployDir, e.Name())] = string(text)
			}
			written := map[string]string{}
			for _, f := range deploy(t, defaults(t, name)).Files {
				written[f.Path] = withoutContents(string(f.Content))
			}
			if diff := cmp.Diff(shown, written); diff != "" {
				t.Errorf("manifests/%s (-) is not what init writes (+):\n%s", name, diff)
			}
		})
	}
}

// withoutContents empties the files that a machine configuration carries, as the repository shows them.
func withoutContents(text string) string {
	const begin = "    content: "
	var kept strings.Builder
	inside := false
	for line := range strings.Lines(text) {
		if inside = inside && (strings.TrimSpace(line) == "" || strings.HasPrefix(line, "      ")); inside {
			continue
		}
		if strings.HasPrefix(line, begin) {
			inside, line = true, begin+"\"\"\n"
		}
		kept.WriteString(line)
	}
	return kept.String()
}

func TestTargets_TheStaticPodIsTheSameEverywhere(t *testing.T) {
	want, err := os.ReadFile(filepath.Join(repository, "kubeadm", "static-pod.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"k3s", "rke2"} {
		t.Run(name, func(t *testing.T) {
			got, err := os.ReadFile(filepath.Join(repository, name, "static-pod.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("manifests/kubeadm (-) and manifests/%s (+) differ:\n%s", name, diff)
			}
		})
	}
}

func TestTargets_ValuesOfTheClusterTakeThePlaceOfTheShown(t *testing.T) {
	for _, name := range installtest.Names() {
		t.Run(name, func(t *testing.T) {
			o := elsewhere(t, name)
			for _, f := range deploy(t, o).Files {
				for _, shown := range []string{
					lookup(t, name).NodeDir, "ghcr.io/jobgate", "127.0.0.1", "9443", "9444",
				} {
					if strings.Contains(string(f.Content), shown) {
						t.Errorf("%s still has %q:\n%s", f.Path, shown, f.Content)
					}
				}
			}
			container := read(t, o).Pod.Spec.Containers[0]
			if container.Image != o.Image {
				t.Errorf("image %q", container.Image)
			}
			if probe := container.ReadinessProbe.HTTPGet; probe.Host != "127.0.0.2" || probe.Port.IntValue() != 20002 {
				t.Errorf("readiness is probed at %s:%s", probe.Host, probe.Port.String())
			}
		})
	}
}

func TestTargets_KubeAPIServerGetsTheSameFlagsEverywhere(t *testing.T) {
	for _, name := range installtest.Names() {
		for _, o := range []install.Options{defaults(t, name), elsewhere(t, name)} {
			t.Run(name+" at "+o.NodeDir, func(t *testing.T) {
				got, want := read(t, o).Flags, install.APIServerFlags(o.NodeDir)
				if name == "talos" {
					// Talos sets it itself, for the file that it makes of the authorizers.
					want = slices.DeleteFunc(want, func(f install.Flag) bool { return f.Name == "authorization-config" })
				}
				if diff := cmp.Diff(byName(want), byName(got)); diff != "" {
					t.Errorf("flags (-want +got):\n%s", diff)
				}
			})
		}
	}
}

func byName(flags []install.Flag) []install.Flag {
	return slices.SortedFunc(slices.Values(flags), func(a, b install.Flag) int { return strings.Compare(a.Name, b.Name) })
}

// TestTargets_KubeAPIServerSeesTheDirectory is about targets that make kube-apiserver's pod. That of k3s is no pod, and
// whose it is in kustomize's case is not known.
func TestTargets_KubeAPIServerSeesTheDirectory(t *testing.T) {
	for _, name := range []string{"kubeadm", "rke2", "talos"} {
		t.Run(name, func(t *testing.T) {
			o := elsewhere(t, name)
			want := []installtest.Mount{{HostPath: o.NodeDir, MountPath: o.NodeDir, ReadOnly: true}}
			if diff := cmp.Diff(want, read(t, o).Mounts); diff != "" {
				t.Errorf("mounts (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTargets_StepsNameFilesThatExistAndAreShell(t *testing.T) {
	for _, name := range installtest.Names() {
		t.Run(name, func(t *testing.T) {
			o := elsewhere(t, name)
			o.Second = lookup(t, name).TakesSecond
			d := deploy(t, o)
			here := o.NodeDir
			if lookup(t, name).Dir != "" {
				here = o.Dir
			}
			if len(d.Steps) == 0 {
				t.Fatal("there are none")
			}
			text := fmt.Sprint(d.Steps)
			for _, f := range d.Files {
				whole := path.Join(here, install.DeployDir)
				if !strings.Contains(text, path.Join(here, f.Path)) && !strings.Contains(text, "apply -k "+whole) {
					t.Errorf("no step says what to do with %s:\n%s", f.Path, text)
				}
			}
			for _, step := range d.Steps {
				if !strings.HasSuffix(step.Text, ".") {
					t.Errorf("%q is no sentence", step.Text)
				}
				for _, command := range step.Commands {
					if out, err := exec.Command("sh", "-n", "-c", command).CombinedOutput(); err != nil {
						t.Errorf("the shell does not read %q: %v: %s", command, err, out)
					}
				}
			}
		})
	}
}

func TestTargets_WhatCannotStandInAManifestIsRefused(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*install.Options)
	}{
		{"a blank in the directory", func(o *install.Options) { o.NodeDir = "/etc/job gate" }},
		{"a colon in the directory", func(o *install.Options) { o.NodeDir = "/etc/a:b" }},
		{"an expansion in the directory", func(o *install.Options) { o.NodeDir = "/etc/$(HOME)" }},
		{"no directory", func(o *install.Options) { o.NodeDir = "" }},
		{"a line break in the image", func(o *install.Options) { o.Image = "jobgate\nprivileged: true" }},
		{"no image", func(o *install.Options) { o.Image = "" }},
		{"a comment in the image", func(o *install.Options) { o.Image = "jobgate #latest" }},
		{"a health address without a port", func(o *install.Options) { o.HealthAddress = "127.0.0.1" }},
		{"a health address with any port", func(o *install.Options) { o.HealthAddress = "127.0.0.1:0" }},
	} {
		for _, name := range installtest.Names() {
			t.Run(row.name+" for "+name, func(t *testing.T) {
				o := defaults(t, name)
				row.change(&o)
				if _, err := lookup(t, name).Deploy(o); err == nil {
					t.Error("it was accepted")
				}
			})
		}
	}
}

// What a target makes does not depend on how jobs are admitted, but for the configuration that is in Talos' patch.
func TestTargets_NeedNoAgent(t *testing.T) {
	for _, name := range append(installtest.Names(), "systemd") {
		t.Run(name, func(t *testing.T) {
			byAgent := defaults(t, name)
			byAgent.Binary = "/usr/local/bin/jobgate"
			byGrant := byAgent
			byGrant.Agents, byGrant.Grant = nil, install.Grant{Cluster: "prod", Projects: []int64{150}}
			with, without := deploy(t, byAgent), deploy(t, byGrant)
			if diff := cmp.Diff(with.Steps, without.Steps); diff != "" {
				t.Errorf("steps (-with an agent +without):\n%s", diff)
			}
			for i := range without.Files {
				text := string(without.Files[i].Content)
				if strings.Contains(text, "agents:\n- id: 4") || (name != "talos" && text != string(with.Files[i].Content)) {
					t.Errorf("%s differs:\n%s", without.Files[i].Path, text)
				}
			}
		})
	}
}
