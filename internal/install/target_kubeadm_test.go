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
	kyaml "sigs.k8s.io/yaml"

	"github.com/jobgate/jobgate/internal/install"
	"github.com/jobgate/jobgate/internal/install/conffile"
)

// clusterFile is where init writes the ClusterConfiguration.
var clusterFile = path.Join(install.DeployDir, "cluster-configuration.yaml")

// existingCluster are the options for a cluster that is there already.
func existingCluster(t *testing.T) install.Options {
	t.Helper()
	o := elsewhere(t, "kubeadm")
	o.ClusterConfiguration = []byte("apiServer: {}\n" + clusterHead + clusterTail)
	return o
}

func contentOf(t *testing.T, d install.Deployment, name string) []byte {
	t.Helper()
	i := slices.IndexFunc(d.Files, func(f install.File) bool { return f.Path == name })
	if i < 0 {
		t.Fatalf("there is no %s", name)
	}
	return d.Files[i].Content
}

// What the shipped file has for a new cluster, an existing one gets, and nothing else changes.
func TestKubeadm_AnExistingClusterGetsWhatANewOneHas(t *testing.T) {
	o := existingCluster(t)
	merged := contentOf(t, deploy(t, o), clusterFile)
	var want, got map[string]any
	for text, decoded := range map[string]*map[string]any{
		string(o.ClusterConfiguration): &want, string(merged): &got,
	} {
		if err := kyaml.UnmarshalStrict([]byte(text), decoded); err != nil {
			t.Fatal(err)
		}
	}
	o.ClusterConfiguration = nil
	var shipped map[string]any
	if err := kyaml.UnmarshalStrict(contentOf(t, deploy(t, o), clusterFile), &shipped); err != nil {
		t.Fatal(err)
	}
	want["apiServer"] = shipped["apiServer"]
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestKubeadm_StepsForAnExistingClusterAreTypedAsTheyAre(t *testing.T) {
	o := existingCluster(t)
	d := deploy(t, o)
	text := fmt.Sprint(d.Steps)
	for _, f := range d.Files {
		if !strings.Contains(text, path.Join(o.NodeDir, f.Path)) {
			t.Errorf("no step says what to do with %s:\n%s", f.Path, text)
		}
	}
	for _, wrong := range []string{"EDITOR", "kubeadm init", "--cluster-configuration"} {
		if strings.Contains(text, wrong) {
			t.Errorf("there is %s in the steps:\n%s", wrong, text)
		}
	}
	for _, step := range d.Steps {
		if !strings.HasSuffix(step.Text, ".") || len(step.Commands) == 0 {
			t.Errorf("%q is no sentence, or without commands", step.Text)
		}
		for _, command := range step.Commands {
			if out, err := exec.Command("sh", "-n", "-c", command).CombinedOutput(); err != nil {
				t.Errorf("the shell does not read %q: %v: %s", command, err, out)
			}
		}
	}
}

// On a machine without a kube-apiserver, the steps say so before anything else.
func TestKubeadm_StepsForANewCluster(t *testing.T) {
	first := deploy(t, elsewhere(t, "kubeadm")).Steps[0]
	if !strings.Contains(first.Text, "no kube-apiserver") || !strings.HasPrefix(first.Commands[0], "kubeadm init --config=") {
		t.Errorf("the first step is %+v", first)
	}
}

func TestInput_ClusterConfiguration(t *testing.T) {
	good := clusterHead + "apiServer: {}\n"
	for _, row := range []struct{ name, target, content, want string }{
		{"for kubeadm", "kubeadm", good, ""},
		{"for another target", "k3s", good, "--cluster-configuration: is kubeadm's, and not for --target k3s"},
		{"empty", "kubeadm", "", "--cluster-configuration: "},
		{"of an older version", "kubeadm", strings.Replace(good, "v1beta4", "v1beta3", 1), "kubeadm config migrate --old-config=FILE --new-config=FILE-v1beta4.yaml"},
		{
			"with authorizers that are not given", "kubeadm", cluster(arg("authorization-config", "/other"), otherVolume),
			"/f: apiServer.extraArgs has authorization-config=/other: those authorizers would be lost: give them with --authorization-config",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			in := input(dir)
			in.Target, in.ClusterConfigFile = row.target, write(t, filepath.Join(dir, "f"), row.content)
			_, err := in.Setup(t.Context())
			switch {
			case row.want == "" && err != nil:
				t.Error(err)
			case row.want != "" && (err == nil || !strings.HasPrefix(err.Error(), "--cluster-configuration: ") || !strings.Contains(err.Error(), strings.ReplaceAll(row.want, "FILE", in.ClusterConfigFile))):
				t.Errorf("got %v, want something with %q", err, row.want)
			}
		})
	}
}

// With the cluster's own authorizers given, its file of them is no loss.
func TestInput_ClusterConfigurationWithItsAuthorizers(t *testing.T) {
	dir := t.TempDir()
	in := input(dir)
	in.Target = "kubeadm"
	in.ClusterConfigFile = write(t, filepath.Join(dir, "f"), cluster(arg("authorization-config", "/other"), otherVolume))
	in.AuthorizersFile = write(t, filepath.Join(dir, "authorizers"), header+"authorizers:\n"+node+webhookItem("a")+rbac)
	s, err := in.Setup(t.Context())
	must(t, err)
	plan, err := install.New(s.Options)
	must(t, err)
	text := string(contentOf(t, install.Deployment{Files: plan.Files}, clusterFile))
	if strings.Contains(text, "/other") || !strings.Contains(text, in.NodeDir+"/authorization.yaml") {
		t.Errorf("it became:\n%s", text)
	}
}

// Who runs init again without the flag would else have a file with which an earlier step takes the cluster's
// configuration away.
func TestSetup_DoesNotForgetTheClusterConfiguration(t *testing.T) {
	dir := t.TempDir()
	in := input(dir)
	in.Target, in.ClusterConfigFile = "kubeadm", write(t, filepath.Join(dir, "f"), clusterHead+clusterTail)
	applied(t, in)
	file := filepath.Join(in.NodeDir, clusterFile)
	before, err := os.ReadFile(file)
	must(t, err)

	in.ClusterConfigFile = ""
	work, err := setup(t, in).Apply()
	must(t, err)
	clashes := work.Directory.Clashes()
	if len(clashes) != 1 || clashes[0].Path != clusterFile ||
		!strings.Contains(clashes[0].Why, "run init on a control-plane node, or add --cluster-configuration") {
		t.Errorf("the conflicts are %+v", clashes)
	}
	after, err := os.ReadFile(file)
	must(t, err)
	if diff := cmp.Diff(string(before), string(after)); diff != "" {
		t.Errorf("-before +after:\n%s", diff)
	}

	// A later version of the cluster's own is no loss.
	in.ClusterConfigFile = write(t, filepath.Join(dir, "f"), strings.Replace(clusterHead, "v1.36.3", "v1.36.4", 1)+clusterTail)
	if got := outcomes(applied(t, in))[clusterFile]; got != conffile.Update {
		t.Errorf("the outcome is %s", got)
	}
}
