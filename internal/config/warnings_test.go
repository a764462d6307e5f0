package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/config"
)

func TestParse_WarnsOfPatternsThatCoverAdministrators(t *testing.T) {
	const (
		admins = "covers kubeadm:cluster-admins, the administrators of a kubeadm cluster; list the groups that jobs need"
		anyone = "covers every user that a binding names, such as an administrator; list the users that jobs need"
	)
	for _, row := range []struct {
		name        string
		impersonate string
		want        []string
	}{
		{name: "nothing", impersonate: "{}"},
		{name: "names", impersonate: "{users: [admin, kubernetes-admin], groups: [\"kubeadm:cluster-admins\"]}"},
		{name: "prefixes of others", impersonate: "{users: [\"deployer-*\"], groups: [\"deploy*\", \"kubeadm:x*\"]}"},
		{name: "UIDs and extras", impersonate: "{uids: [\"*\"], extraKeys: [\"*\"]}"},
		{
			name: "everything", impersonate: "{users: [\"*\"], groups: [a, \"*\"]}",
			want: []string{
				`8: agents[0].impersonate.groups[1]: "*" ` + admins,
				`8: agents[0].impersonate.users[0]: ` + anyone,
			},
		},
		{
			name: "prefixes of administrators", impersonate: "{groups: [\"kubeadm:*\"]}",
			want: []string{`8: agents[0].impersonate.groups[0]: "kubeadm:*" ` + admins},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := parse(t, edit(t, agent, agent+"  impersonate: "+row.impersonate+"\n"))
			if diff := cmp.Diff(row.want, texts(got.Warnings)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestLoad_WarnsOfExposedFiles(t *testing.T) {
	for _, row := range []struct {
		name  string
		modes map[string]os.FileMode
		want  []string
	}{
		{name: "as init makes them", modes: map[string]os.FileMode{"config.yaml": 0o644, "ca.crt": 0o644, "tls.crt": 0o644, "tls.key": 0o640, "gitlab": 0o711}},
		{name: "a token for all", modes: map[string]os.FileMode{"gitlab/token": 0o644}, want: []string{
			"6: gitlab.tokenFile: every user may read it (mode 0644); run chmod 0640 DIR/gitlab/token",
		}},
		{name: "a key for all", modes: map[string]os.FileMode{"tls.key": 0o666}, want: []string{
			"10: serving.keyFile: every user may read and change it (mode 0666); run chmod 0640 DIR/tls.key",
		}},
		{name: "a configuration for its group", modes: map[string]os.FileMode{"config.yaml": 0o664}, want: []string{
			"1: its group may change it (mode 0664); run chmod 0644 DIR/config.yaml",
		}},
		{name: "bundles for all", modes: map[string]os.FileMode{"gitlab/ca.crt": 0o666, "ca.crt": 0o602}, want: []string{
			"5: gitlab.caFile: every user may change it (mode 0666); run chmod 0644 DIR/gitlab/ca.crt",
			"11: serving.clientCAFile: every user may change it (mode 0602); run chmod 0600 DIR/ca.crt",
		}},
		{name: "a folder for all", modes: map[string]os.FileMode{"gitlab": 0o777}, want: []string{
			"6: gitlab.tokenFile: every user may change it (mode 0777); run chmod 0755 DIR/gitlab",
		}},
		{name: "a folder like /tmp", modes: map[string]os.FileMode{"gitlab": 0o777 | os.ModeSticky}},
	} {
		t.Run(row.name, func(t *testing.T) {
			directory := writeEveryFile(t)
			must(t, os.Chmod(directory, 0o755)) // whatever the umask
			for name, mode := range row.modes {
				must(t, os.Chmod(filepath.Join(directory, name), mode))
			}
			c, err := config.Load(filepath.Join(directory, "config.yaml"))
			must(t, err)
			var got []string
			for _, text := range texts(c.Warnings) {
				got = append(got, strings.ReplaceAll(text, directory, "DIR"))
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func texts(problems []config.Problem) []string {
	var lines []string
	for _, problem := range problems {
		lines = append(lines, problem.String())
	}
	return lines
}
