package cijob

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/jobgate/jobgate/internal/file"
)

// maxKubeconfig bounds a kubeconfig, in bytes. GitLab's largest, 500 agents with JWT tokens, is below 1 MiB.
const maxKubeconfig = 4 << 20

// ErrNoKubeconfig says that none of the files exists.
var ErrNoKubeconfig = errors.New("no such kubeconfig")

// Load reads kubeconfig files as kubectl does: where two files have an entry of the same name, the first counts, and files
// that do not exist are skipped. Paths in them become absolute. If none of the files exists, the error wraps
// ErrNoKubeconfig and the configuration is empty.
func Load(names ...string) (*clientcmdapi.Config, error) {
	found := false
	for _, name := range names {
		switch _, err := file.Read(name, maxKubeconfig); {
		case err == nil:
			found = true
		case !errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("read the kubeconfig: %w", err)
		}
	}
	if !found {
		return clientcmdapi.NewConfig(), ErrNoKubeconfig
	}
	config, err := (&clientcmd.ClientConfigLoadingRules{Precedence: names}).Load()
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	return config, nil
}

// fileMode is that of a file with a token in it.
const fileMode = 0o600

// Write writes a kubeconfig that only its owner may read, whatever the mode of the file that it replaces. A symbolic link
// stays, and the file behind it is replaced.
func Write(name string, config *clientcmdapi.Config) error {
	text, err := clientcmd.Write(*config)
	if err != nil {
		return fmt.Errorf("encode the kubeconfig: %w", err)
	}
	if target, err := filepath.EvalSymlinks(name); err == nil {
		name = target
	}
	if err := file.Write(name, text, fileMode); err != nil {
		return fmt.Errorf("write the kubeconfig: %w", err)
	}
	return nil
}
