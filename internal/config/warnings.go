package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/klog/v2"

	"github.com/jobgate/jobgate/internal/file"
)

// clusterAdmins is the group that kubeadm binds to cluster-admin.
const clusterAdmins = "kubeadm:cluster-admins"

// warnings finds what is valid and unwise. Their lines are not known here.
func (c *Configuration) warnings() []Problem {
	var found []Problem
	warn := func(agent int, list string, item int, format string, args ...any) {
		path := field.NewPath("agents").Index(agent).Child("impersonate", list).Index(item)
		found = append(found, Problem{Path: path.String(), Message: fmt.Sprintf(format, args...)})
	}
	for i, agent := range c.Agents {
		for k, user := range agent.Impersonate.Users {
			if user == "*" {
				warn(i, "users", k, "covers every user that a binding names, such as an administrator; list the users that jobs need")
			}
		}
		for k, group := range agent.Impersonate.Groups {
			if prefix, ok := strings.CutSuffix(group, "*"); ok && strings.HasPrefix(clusterAdmins, prefix) {
				warn(i, "groups", k, "%q covers %s, the administrators of a kubeadm cluster; list the groups that jobs need", group, clusterAdmins)
			}
		}
	}
	return append(found, c.grantWarnings()...)
}

// LogWarnings writes each warning about a file to the log.
func (c *Configuration) LogWarnings(logger klog.Logger, path string) {
	for _, w := range c.Warnings {
		logger.Info("Configuration warning", "file", path, "line", w.Line, "key", w.Path, "warning", w.Message)
	}
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
