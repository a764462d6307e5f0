package cijob

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// maxKubeconfig bounds a kubeconfig, in bytes. GitLab's largest, 500 agents with JWT tokens, is below 1 MiB.
const maxKubeconfig = 4 << 20

// ErrNoKubeconfig says that none of the files exists.
var ErrNoKubeconfig = errors.New("no such kubeconfig")

// Load reads kubeconfig files as kubectl does: the first file to name something decides about it, and files that do not
// exist are passed over. Names of files in them become absolute. The error wraps ErrNoKubeconfig if there is none of
// the files; the configuration is then empty.
func Load(files ...string) (*clientcmdapi.Config, error) {
	config, found := clientcmdapi.NewConfig(), false
	for _, file := range files {
		one, err := load(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found = true
		merge(config, one)
	}
	if !found {
		return config, ErrNoKubeconfig
	}
	return config, nil
}

// merge adds what config does not have yet.
func merge(config, one *clientcmdapi.Config) {
	config.Clusters = underlay(config.Clusters, one.Clusters)
	config.AuthInfos = underlay(config.AuthInfos, one.AuthInfos)
	config.Contexts = underlay(config.Contexts, one.Contexts)
	config.Extensions = underlay(config.Extensions, one.Extensions)
	if config.CurrentContext == "" {
		config.CurrentContext = one.CurrentContext
	}
}

func underlay[V any](above, below map[string]V) map[string]V {
	merged := maps.Clone(below)
	if merged == nil {
		return above
	}
	maps.Copy(merged, above)
	return merged
}

func load(file string) (*clientcmdapi.Config, error) {
	text, err := readBounded(file, maxKubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	config, err := clientcmd.Load(text)
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig %s: %w", file, err)
	}
	absolute, err := filepath.Abs(file)
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig %s: %w", file, err)
	}
	for _, c := range config.Clusters {
		c.LocationOfOrigin = absolute
	}
	for _, u := range config.AuthInfos {
		u.LocationOfOrigin = absolute
	}
	if err := clientcmd.ResolveLocalPaths(config); err != nil {
		return nil, fmt.Errorf("read the kubeconfig %s: %w", file, err)
	}
	return config, nil
}

// fileMode is that of a file with a token in it.
const fileMode = 0o600

// Write writes a kubeconfig that only its owner may read. A file that is there is replaced as a whole, so nobody ever
// reads half of it, and what it was open to before does not matter.
func Write(file string, config *clientcmdapi.Config) error {
	text, err := clientcmd.Write(*config)
	if err != nil {
		return fmt.Errorf("encode the kubeconfig: %w", err)
	}
	// Of a symbolic link the file behind it is meant.
	if target, err := filepath.EvalSymlinks(file); err == nil {
		file = target
	}
	if err := replace(file, text); err != nil {
		return fmt.Errorf("write the kubeconfig: %w", err)
	}
	return nil
}

func replace(file string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Chmod(fileMode), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if err := os.Rename(f.Name(), file); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
