package binaries

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// kubernetesVariable chooses the Kubernetes whose kube-apiserver and kubectl are tested, such as 1.32. Without it, it is the one
// that the e2e module requires, which is the newest. Each of the others is required by a module in olderKubernetes, which
// hack/kubernetes-module has written. The other programs are always the newest.
const (
	kubernetesVariable = "KUBERNETES"
	olderKubernetes    = "tools/kubernetes"
)

var errUnknownKubernetes = errors.New("the tests cannot build this Kubernetes")

// choose is v with the chosen Kubernetes.
func (v versions) choose(ctx context.Context, minor string) (versions, error) {
	newest := Minor(v.kubernetes)
	if minor == "" || minor == newest {
		return v, nil
	}
	entries, err := os.ReadDir(filepath.Join(v.root, olderKubernetes))
	if err != nil {
		return versions{}, fmt.Errorf("learn which versions of Kubernetes there are: %w", err)
	}
	var choices []string
	for _, entry := range entries {
		choices = append(choices, entry.Name())
	}
	choices = append(choices, newest)
	if !slices.Contains(choices, minor) {
		return versions{}, fmt.Errorf("%s=%s: %w; choose one of %s", kubernetesVariable, minor, errUnknownKubernetes, strings.Join(choices, ", "))
	}
	v.chosenDir = filepath.Join(v.root, olderKubernetes, minor)
	out, err := goCommand(ctx, v.chosenDir, nil, "list", "-m", "-f", "{{.Version}}", kubernetesModule)
	if err != nil {
		return versions{}, fmt.Errorf("learn the version to build: %w", err)
	}
	v.chosen = strings.TrimSpace(out)
	return v, nil
}

// Minor is the version without its patch: 1.36 of v1.36.3.
func Minor(version string) string {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}
