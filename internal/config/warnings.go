package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/jobgate/jobgate/internal/file"
)

// warnings finds what is valid and unwise. Their lines are not known here.
func (c *Configuration) warnings() []Problem {
	var found []Problem
	for i, agent := range c.Agents {
		for _, list := range []struct {
			name    string
			entries []string
			admin   string // a name of this kind that has every right in many clusters
		}{
			{"users", agent.Impersonate.Users, "kubernetes-admin"},
			{"groups", agent.Impersonate.Groups, "kubeadm:cluster-admins"},
		} {
			for k, entry := range list.entries {
				if prefix, ok := strings.CutSuffix(entry, "*"); ok && strings.HasPrefix(list.admin, prefix) {
					found = append(found, Problem{
						Path: fmt.Sprintf("agents[%d].impersonate.%s[%d]", i, list.name, k),
						Message: fmt.Sprintf("%q covers %s, which may do everything in many clusters; list the %s that jobs need",
							entry, list.admin, list.name),
					})
				}
			}
		}
	}
	return found
}

// exposedFiles finds files, and folders of secret ones, that users of the machine may read or change and should not.
func (c *Configuration) exposedFiles(configurationFile string) []Problem {
	var found []Problem
	seen := map[string]bool{}
	check := func(key, path string, kind file.Kind) {
		if message := file.Exposed(path, kind); path != "" && message != "" && !seen[path] {
			found = append(found, Problem{Path: key, Message: message})
		}
		seen[path] = true
	}
	for _, f := range []struct {
		key, path string
		kind      file.Kind
	}{
		{"", configurationFile, file.Trusted},
		{"gitlab.tokenFile", c.GitLab.TokenFile, file.Secret},
		{"gitlab.caFile", c.GitLab.CAFile, file.Trusted},
		{"serving.keyFile", c.Serving.KeyFile, file.Secret},
		{"serving.certFile", c.Serving.CertFile, file.Trusted},
		{"serving.clientCAFile", c.Serving.ClientCAFile, file.Trusted},
	} {
		check(f.key, f.path, f.kind)
		if folder := filepath.Dir(f.path); f.path != "" && !isSticky(folder) {
			check(f.key, folder, file.Trusted)
		}
	}
	return found
}

// isSticky says that in a folder, such as /tmp, each user may change only their own files.
func isSticky(folder string) bool {
	info, err := os.Stat(folder)
	return err == nil && info.Mode()&os.ModeSticky != 0
}
