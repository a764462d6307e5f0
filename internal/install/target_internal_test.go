package install

import (
	"strings"
	"testing"
)

// A manifest that was edited past what is replaced in it must not be written: it would have the wrong cluster's values.
func TestDeployFile_EveryValueThatIsReplacedMustBeShown(t *testing.T) {
	_, err := deployFile("kubeadm", staticPodFile, substitution{shownImage, "jobgate:1"}, substitution{"/no/such/folder", "/x"})
	if err == nil || !strings.Contains(err.Error(), "/no/such/folder") || !strings.Contains(err.Error(), "kubeadm/static-pod.yaml") {
		t.Errorf("the error is %v", err)
	}
}

func TestDeployFile_AManifestThatIsNotThere(t *testing.T) {
	if _, err := deployFile("kubeadm", "none.yaml"); err == nil || !strings.Contains(err.Error(), "kubeadm/none.yaml") {
		t.Errorf("the error is %v", err)
	}
}

// What one value becomes is not replaced again by the next.
func TestDeployFile_ReplacesOnce(t *testing.T) {
	f, err := deployFile("kubeadm", kubeadmConfigFile,
		substitution{DefaultNodeDir, "/jobgate.yaml"}, substitution{"authorization.yaml", "other.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(f.Content), "value: /jobgate.yaml/other.yaml\n") {
		t.Errorf("it became:\n%s", f.Content)
	}
}

func TestReplacePart(t *testing.T) {
	const text = "a\nfiles:\nold\nend\nb\n"
	for _, row := range []struct{ name, begin, end, want string }{
		{"between two marks", "files:\n", "end\n", "a\nfiles:\nnew\nend\nb\n"},
		{"to the end of the text", "files:\n", "", "a\nfiles:\nnew\n"},
		{"no beginning", "pods:\n", "end\n", ""},
		{"no end", "files:\n", "nothing\n", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := replacePart(text, row.begin, row.end, "new\n")
			if got != row.want || (err != nil) != (row.want == "") {
				t.Errorf("it became %q, with the error %v", got, err)
			}
		})
	}
}
