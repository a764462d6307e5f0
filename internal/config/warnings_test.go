package config_test

import (
	"fmt"
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

func TestParse_WarnsOfGrantsThatDoNotDoWhatTheySeem(t *testing.T) {
	const (
		byGroup   = "grants:\n- {name: a, groups: [23]}\n"
		byProject = "grants:\n- {name: a, projects: [150]%s}\n"
		byRef     = "grants:\n- {name: a, projects: [150], require: {refs: [main]%s}}\n"
		idTokens  = "idTokens: {audience: a, requireLiveness: false}\n"
		withToken = "  tokenFile: t\n"
		ambiguous = ".require.refs: a tag can have the name of a branch, and a user who may not push to the branch may be able to push the tag: " +
			"add refTypes, or protectedRef"
	)
	for _, row := range []struct {
		name, gitlab, rest string
		want               []string
	}{
		{name: "groups, and job tokens alone", rest: byGroup},
		{name: "groups, and ID tokens with an access token", gitlab: withToken, rest: byGroup + idTokens},
		{name: "groups, and ID tokens without an access token", rest: byGroup + idTokens,
			want: []string{"grants[0].groups: ID tokens do not carry their project's groups: without gitlab.tokenFile this grant admits no job that logs in with one"}},
		{name: "blocked groups, and ID tokens without an access token", rest: fmt.Sprintf(byProject, "") + idTokens + "blocked: {groups: [23]}\n",
			want: []string{"blocked.groups: the groups of jobs with ID tokens are not known without gitlab.tokenFile, so no group blocks such a job"}},
		{name: "a restriction of an agent, beside grants",
			rest: fmt.Sprintf(byProject, "") + "restrictions:\n- {name: a, agents: [4], require: {projects: [1]}}\n",
			want: []string{"restrictions[0].agents: a restriction with agents does not match jobs that a grant admits: they use no agent"}},
		{name: "a branch's name, which a tag can have", rest: fmt.Sprintf(byRef, ""), want: []string{"grants[0]" + ambiguous}},
		{name: "a branch's name, of branches", rest: fmt.Sprintf(byRef, ", refTypes: [branch]")},
		{name: "a branch's name, protected", rest: fmt.Sprintf(byRef, ", protectedRef: true")},
		{name: "a branch's name, in a restriction", rest: fmt.Sprintf(byProject, "") + "restrictions:\n- {name: a, require: {refs: [main]}}\n",
			want: []string{"restrictions[0]" + ambiguous}},
	} {
		t.Run(row.name, func(t *testing.T) {
			c, err := config.Parse("config.yaml", []byte("apiVersion: jobgate.io/v1alpha1\nkind: Configuration\ncluster: {name: prod}\n"+
				"gitlab:\n  url: https://gitlab.example.com\n"+row.gitlab+"agents: [{id: 4}]\nserving: {certFile: c, keyFile: k}\n"+row.rest))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, w := range c.Warnings {
				got = append(got, w.Path+": "+w.Message)
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
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
