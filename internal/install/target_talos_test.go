package install_test

import (
	"errors"
	"io/fs"
	"os/exec"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiserverv1 "k8s.io/apiserver/pkg/apis/apiserver/v1"
	kyaml "sigs.k8s.io/yaml"

	"github.com/jobgate/jobgate/certs"
	"github.com/jobgate/jobgate/internal/install"
)

func TestTalos_FilesAreThoseOfTheDirectoryAndReadable(t *testing.T) {
	o := elsewhere(t, "talos")
	o.GitLabCA = []byte("an authority of GitLab's\n")
	common, err := install.Common(o)
	if err != nil {
		t.Fatal(err)
	}
	type file struct {
		content string
		mode    fs.FileMode
	}
	want := map[string]file{
		// kube-apiserver is 65534 and jobgate 65532, and the files are root's.
		o.NodeDir + "/pki/ca.crt":      {string(o.PKI[certs.CAFile]), 0o444},
		o.NodeDir + "/pki/serving.pem": {string(o.PKI[certs.ServingFile]), 0o440},
		o.NodeDir + "/pki/client.pem":  {string(o.PKI[certs.ClientFile]), 0o444},
	}
	for _, f := range common {
		// Talos makes that one itself.
		if f.Path != install.AuthorizationFile {
			want[o.NodeDir+"/"+f.Path] = file{string(f.Content), 0o444}
		}
	}
	got := map[string]file{}
	r := read(t, o)
	for _, f := range r.NodeFiles {
		got[f.Path] = file{f.Content, f.Permissions}
		if f.Op != "create" || !strings.HasPrefix(f.Path, "/var/") {
			t.Errorf("Talos does not %s %s", f.Op, f.Path)
		}
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(file{})); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	// That is how jobgate, which is not root, reads the file of mode 0440.
	if groups := r.Pod.Spec.SecurityContext.SupplementalGroups; !cmp.Equal(groups, []int64{0}) {
		t.Errorf("supplemental groups %v", groups)
	}
}

func TestTalos_OnlyTheAdminReadsThePatch(t *testing.T) {
	for _, f := range deploy(t, defaults(t, "talos")).Files {
		if f.Mode != 0o600 {
			t.Errorf("%s has mode %o", f.Path, f.Mode)
		}
	}
}

const clusterAuthorizers = `
apiVersion: apiserver.config.k8s.io/v1
kind: AuthorizationConfiguration
authorizers:
- {type: Node, name: node}
- type: Webhook
  name: another
  webhook:
    timeout: 1s
    subjectAccessReviewVersion: v1
    failurePolicy: NoOpinion
    authorizedTTL: 5m
    unauthorizedTTL: 30s
    connectionInfo: {type: InClusterConfig}
- {type: RBAC, name: rbac}
`

// TestTalos_AuthorizersAreThoseOfTheOtherTargets makes sure that Talos, too, asks jobgate before RBAC.
func TestTalos_AuthorizersAreThoseOfTheOtherTargets(t *testing.T) {
	for _, row := range []struct {
		name     string
		existing string
	}{
		{"as shipped", ""},
		{"merged with the cluster's own", clusterAuthorizers},
	} {
		t.Run(row.name, func(t *testing.T) {
			o := elsewhere(t, "talos")
			o.Authorizers = []byte(row.existing)
			if row.existing == "" {
				o.Authorizers = nil
			}
			common, err := install.Common(o)
			if err != nil {
				t.Fatal(err)
			}
			var want apiserverv1.AuthorizationConfiguration
			for _, f := range common {
				if f.Path == install.AuthorizationFile {
					if err := kyaml.UnmarshalStrict(f.Content, &want); err != nil {
						t.Fatal(err)
					}
				}
			}
			if diff := cmp.Diff(want.Authorizers, read(t, o).Authorizers); diff != "" {
				t.Errorf("authorizers (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTalos_AuthorizersThatDoNotSuitItAreRefused(t *testing.T) {
	const rbac = "- {type: RBAC, name: rbac}\n"
	for _, row := range []struct{ name, instead, want string }{
		{"no RBAC, before which Talos would put one", "", "deny nothing"},
		{"a type that Talos does not know", "- {type: AlwaysDeny, name: never}\n" + rbac, "AlwaysDeny"},
	} {
		t.Run(row.name, func(t *testing.T) {
			o := defaults(t, "talos")
			o.Authorizers = []byte(strings.Replace(clusterAuthorizers, rbac, row.instead, 1))
			if _, err := lookup(t, "talos").Deploy(o); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

func TestTalos_WithoutCertificatesThereIsNoPatch(t *testing.T) {
	for _, name := range []string{certs.CAFile, certs.ServingFile, certs.ClientFile} {
		t.Run(name, func(t *testing.T) {
			o := defaults(t, "talos")
			delete(o.PKI, name)
			if _, err := lookup(t, "talos").Deploy(o); !errors.Is(err, install.ErrNoPKI) || !strings.Contains(err.Error(), name) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

func TestTalos_FilesArriveAsTheyAre(t *testing.T) {
	for _, row := range []struct{ name, content string }{
		{"lines", "one\ntwo\n"},
		{"an empty line inside", "one\n\ntwo\n"},
		{"a line that is indented", "one\n  two\n"},
		{"what looks like YAML", "- one: |\n# two\n"},
		{"no line break at the end", "one"},
		{"two line breaks at the end", "one\n\n"},
		{"a first line that is indented", "  one\ntwo\n"},
		{"blanks alone", "   \n"},
		{"carriage returns", "one\r\ntwo\r\n"},
	} {
		t.Run(row.name, func(t *testing.T) {
			o := defaults(t, "talos")
			o.PKI[certs.CAFile] = []byte(row.content)
			for _, f := range read(t, o).NodeFiles {
				if path.Base(f.Path) == certs.CAFile && f.Content != row.content {
					t.Errorf("%q became %q", row.content, f.Content)
				}
			}
		})
	}
}

func TestTalos_AFileThatIsNoTextIsRefused(t *testing.T) {
	o := defaults(t, "talos")
	o.PKI[certs.CAFile] = []byte("\xff\xfe\n")
	if _, err := lookup(t, "talos").Deploy(o); err == nil {
		t.Error("it was accepted")
	}
}

// TestTalos_StepsWarnOfASecondList is about a cluster that has authorizers already: Talos would append to them.
func TestTalos_StepsWarnOfASecondList(t *testing.T) {
	o := defaults(t, "talos")
	without := len(deploy(t, o).Steps)
	o.Authorizers = []byte(clusterAuthorizers)
	if steps := deploy(t, o).Steps; len(steps) != without+1 ||
		!strings.Contains(steps[1].Text, "authorizationConfig") {
		t.Errorf("the steps are %+v", steps)
	}
}

// TestTalos_StepsAreForTheFolderWhateverItIsCalled has a shell say which files the steps are about.
func TestTalos_StepsAreForTheFolderWhateverItIsCalled(t *testing.T) {
	for _, dir := range []string{"/home/admin/jobgate-talos", "/home/it's $HOME/my talos"} {
		t.Run(dir, func(t *testing.T) {
			o := defaults(t, "talos")
			o.Dir = dir
			ran := 0
			for _, step := range deploy(t, o).Steps {
				for _, command := range step.Commands {
					if !strings.Contains(command, "machineconfig patch") {
						continue
					}
					ran++
					script := "NODE=192.0.2.10; umask() { :; }; talosctl() { printf '%s\\n' \"$@\"; }; " + command
					out, err := exec.Command("sh", "-c", script).CombinedOutput()
					want := "machineconfig\npatch\n" + dir + "/machine-192.0.2.10.yaml\n--patch=@" + dir + "/deploy/patch.yaml\n" +
						"--output=" + dir + "/machine-192.0.2.10-jobgate.yaml\n"
					if err != nil || string(out) != want {
						t.Errorf("%s: %v: %s, want %s", command, err, out, want)
					}
				}
			}
			if ran != 1 {
				t.Errorf("%d commands patch a machine configuration", ran)
			}
		})
	}
}
