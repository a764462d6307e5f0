package binaries

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// repository is where the modules of older versions are.
const repository = "../.."

func TestChoose_EachModuleIsOfItsVersion(t *testing.T) {
	entries, err := os.ReadDir(filepath.Join(repository, olderKubernetes))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		t.Run(entry.Name(), func(t *testing.T) {
			v, err := versions{root: repository, kubernetes: "v1.36.3"}.choose(t.Context(), entry.Name())
			if err != nil {
				t.Fatal(err)
			}
			if Minor(v.chosen) != entry.Name() {
				t.Errorf("the module of %s requires Kubernetes %s", entry.Name(), v.chosen)
			}
		})
	}
}

func TestChoose_NewestIsThatOfTheTests(t *testing.T) {
	for _, name := range []string{"", "1.36"} {
		v, err := versions{root: repository, kubernetes: "v1.36.3", chosen: "v1.36.3", chosenDir: "/e2e"}.choose(t.Context(), name)
		if err != nil || v.chosenDir != "/e2e" || v.chosen != "v1.36.3" {
			t.Errorf("KUBERNETES=%q: %+v, %v", name, v, err)
		}
	}
}

func TestChoose_UnknownVersionNamesTheChoices(t *testing.T) {
	_, err := versions{root: repository, kubernetes: "v1.36.3"}.choose(t.Context(), "1.31")
	if !errors.Is(err, errUnknownKubernetes) || !strings.Contains(err.Error(), "1.32, ") || !strings.Contains(err.Error(), ", 1.36") {
		t.Errorf("error %v", err)
	}
}
