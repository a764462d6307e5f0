package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jobgate/jobgate/internal/cijob"
	"github.com/jobgate/jobgate/internal/pkitest"
)

// A job that names the cluster needs no agent, and GitLab is not asked: it is not even there.
func TestKubeconfig_Cluster(t *testing.T) {
	ca, err := pkitest.NewAuthority("ca")
	if err != nil {
		t.Fatal(err)
	}
	caFile, err := ca.WriteCertificate(t.TempDir(), "ca")
	if err != nil {
		t.Fatal(err)
	}
	const jobToken, idToken = "glcbt-64_SecretSecretSecret12", "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJwcm9kIn0.c2lnbmVk"
	flags := "--cluster=prod --server=https://api.example.com:6443 --ca=" + caFile
	rows := []struct {
		name    string
		args    string
		env     map[string]string
		context string
		token   string
	}{
		{name: "job token", args: flags, context: "prod", token: "ci:prod:" + jobToken},
		{name: "ID token", args: flags + " --id-token-variable=PROD_TOKEN", context: "prod", token: idToken},
		{name: "another context", args: flags + " --context=mine", context: "mine", token: "ci:prod:" + jobToken},
		{name: "variables", context: "prod", token: idToken, env: map[string]string{
			"JOBGATE_CLUSTER": "prod", "JOBGATE_ID_TOKEN_VARIABLE": "PROD_TOKEN", "JOBGATE_URL": "https://api.example.com:6443", "JOBGATE_CA_FILE": caFile,
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			file := withoutGitLab(t, map[string]string{"CI_JOB_TOKEN": jobToken, "PROD_TOKEN": idToken})
			for name, value := range row.env {
				t.Setenv(name, value)
			}
			stdout, notes, err := runApart(t, append([]string{"kubeconfig"}, strings.Fields(row.args)...)...)
			if err != nil {
				t.Fatal(err)
			}
			if stdout != "" || !strings.Contains(notes, "(without an agent)") || !strings.Contains(notes, "points at https://api.example.com:6443") || strings.Contains(notes, "Secret") {
				t.Errorf("standard output is %q, notes are %q", stdout, notes)
			}
			if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
				t.Errorf("mode is %v (%v)", info.Mode(), err)
			}
			config, err := cijob.Load(file)
			if err != nil {
				t.Fatal(err)
			}
			c := config.Contexts[row.context]
			if c == nil || config.CurrentContext != row.context {
				t.Fatalf("the current context is %q, want %q", config.CurrentContext, row.context)
			}
			if config.AuthInfos[c.AuthInfo].Token != row.token {
				t.Error("the user has another token")
			}
			if cluster := config.Clusters[c.Cluster]; cluster.Server != "https://api.example.com:6443" || len(cluster.CertificateAuthorityData) == 0 {
				t.Errorf("the cluster is %s, with %d bytes of CA", cluster.Server, len(cluster.CertificateAuthorityData))
			}
		})
	}
}

func TestKubeconfig_ClusterRefuses(t *testing.T) {
	const flags = "--cluster=prod --server=https://api.example.com "
	rows := []struct {
		name string
		args string
		env  map[string]string
		want string
	}{
		{name: "no job token", args: flags, want: "CI_JOB_TOKEN is not set"},
		{name: "no ID token", args: flags + "--id-token-variable=PROD_TOKEN", want: "PROD_TOKEN is not set"},
		{name: "garbled ID token", args: flags + "--id-token-variable=PROD_TOKEN", env: map[string]string{"PROD_TOKEN": "Secret Secret"},
			want: "PROD_TOKEN: "},
		{name: "expired ID token", args: flags + "--id-token-variable=PROD_TOKEN", want: "PROD_TOKEN: the token has expired",
			env: map[string]string{"PROD_TOKEN": "eyJhbGciOiJSUzI1NiJ9.eyJleHAiOjF9.U2VjcmV0"}}, // {"exp":1}
		{name: "no server", args: "--cluster=prod", env: map[string]string{"CI_JOB_TOKEN": "Secret"}, want: "JOBGATE_URL is not set"},
		{name: "agent and cluster in variables", env: map[string]string{"JOBGATE_CLUSTER": "prod", "JOBGATE_AGENT_ID": "4"},
			want: "JOBGATE_CLUSTER and JOBGATE_AGENT_ID are both set"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			file := withoutGitLab(t, nil)
			for name, value := range row.env {
				t.Setenv(name, value)
			}
			_, _, err := runApart(t, append([]string{"kubeconfig"}, strings.Fields(row.args)...)...)
			if exitStatus(err) != 1 || !strings.Contains(err.Error(), row.want) {
				t.Errorf("error is %v, want the exit status 1 and %q", err, row.want)
			}
			if err != nil && strings.Contains(err.Error(), "Secret") {
				t.Error("the error shows the token")
			}
			if _, err := os.Stat(file); err == nil {
				t.Error("a kubeconfig was written")
			}
		})
	}
}

// withoutGitLab is a job whose GitLab does not answer, with a KUBECONFIG that does not exist yet.
func withoutGitLab(t *testing.T, env map[string]string) (file string) {
	t.Helper()
	runCIJob(t)
	file = filepath.Join(t.TempDir(), "kubeconfig")
	for _, name := range []string{"CI_JOB_TOKEN", "CI_API_V4_URL", "CI_SERVER_URL", "JOBGATE_URL"} {
		t.Setenv(name, "")
	}
	t.Setenv("KUBECONFIG", file)
	for name, value := range env {
		t.Setenv(name, value)
	}
	return file
}
