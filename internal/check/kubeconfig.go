package check

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/jobgate/jobgate/internal/file"
	"github.com/jobgate/jobgate/internal/install"
)

// maxKubeconfig bounds a kubeconfig, in bytes.
const maxKubeconfig = 1 << 20

// adminKubeconfigs are where control planes keep the administrator's.
func adminKubeconfigs() []string {
	return []string{"/etc/kubernetes/admin.conf", "/etc/rancher/k3s/k3s.yaml", "/etc/rancher/rke2/rke2.yaml"}
}

var errNoKubeconfig = errors.New("no administrator's kubeconfig is on this node: give it with --kubeconfig")

// findAdmin reads the administrator's kubeconfig.
func (e *examination) findAdmin() {
	candidates := []string{e.Kubeconfig}
	if e.Kubeconfig == "" {
		candidates = filepath.SplitList(e.Environment)
		for _, name := range adminKubeconfigs() {
			candidates = append(candidates, filepath.Join(e.Root, name))
		}
	}
	e.adminError = errNoKubeconfig
	for _, name := range candidates {
		if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) && e.Kubeconfig == "" {
			continue
		}
		e.adminFile = name
		e.admin, e.adminError = readKubeconfig(name, func(path string) string { return path })
		return
	}
}

// readKubeconfig reads a kubeconfig and the files that it names; onNode says where this node has them.
func readKubeconfig(name string, onNode func(string) string) (*rest.Config, error) {
	text, err := file.Read(onNode(name), maxKubeconfig)
	if err != nil {
		return nil, err
	}
	config, err := clientcmd.Load(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	place := func(path *string) {
		if *path == "" {
			return
		}
		if !filepath.IsAbs(*path) {
			*path = filepath.Join(filepath.Dir(name), *path)
		}
		*path = onNode(*path)
	}
	for _, c := range config.Clusters {
		place(&c.CertificateAuthority)
	}
	for _, u := range config.AuthInfos {
		place(&u.ClientCertificate)
		place(&u.ClientKey)
	}
	return clientConfig(name, config)
}

func clientConfig(name string, config *clientcmdapi.Config) (*rest.Config, error) {
	c, err := clientcmd.NewDefaultClientConfig(*config, &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	c.Timeout = askTimeout
	return c, nil
}

// besideConfiguration are the kubeconfigs that init writes into the folder of the configuration, if they are there.
func (e *examination) besideConfiguration() webhooks {
	find := func(name string) string {
		path := filepath.Join(filepath.Dir(e.ConfigFile), name)
		if _, err := os.Stat(path); err != nil {
			return ""
		}
		return path
	}
	return webhooks{authenticate: find(install.AuthenticateFile), authorize: find(install.AuthorizeFile)}
}
