package e2e_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/apiserver/pkg/audit/policy"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/jobgate/jobgate/internal/eventually"
	"github.com/jobgate/jobgate/internal/gitlabtest"
)

// The API server's own code reads the file.
func TestManifestsAudit_WhoIsLogged(t *testing.T) {
	loaded, err := policy.LoadPolicyFromFile(shipped(t, "audit", "policy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	evaluator := policy.NewPolicyRuleEvaluator(loaded)
	resource := func(name string, groups ...string) authorizer.Attributes {
		return authorizer.AttributesRecord{
			User: &user.DefaultInfo{Name: name, Groups: append(groups, user.AllAuthenticated)},
			Verb: "get", Resource: "secrets", Namespace: "kube-system", ResourceRequest: true,
		}
	}
	path := func(name, path string, groups ...string) authorizer.Attributes {
		return authorizer.AttributesRecord{User: &user.DefaultInfo{Name: name, Groups: groups}, Verb: "get", Path: path}
	}
	for _, row := range []struct {
		name    string
		request authorizer.Attributes
		want    auditinternal.Level
	}{
		{"a job", resource("gitlab:ci_job:1", "gitlab:ci_job"), auditinternal.LevelMetadata},
		{"a job's discovery", path("gitlab:ci_job:1", "/apis/apps/v1", "gitlab:ci_job"), auditinternal.LevelMetadata},
		{"an agent", resource("gitlab:agent:4", "gitlab:agent"), auditinternal.LevelMetadata},
		{"a job that is refused", resource("gitlab:ci_job:1"), auditinternal.LevelMetadata},
		{"an agent's ServiceAccount", resource("system:serviceaccount:ci:deployer", "system:serviceaccounts", "system:serviceaccounts:ci"), auditinternal.LevelMetadata},
		{"a person", resource("jane"), auditinternal.LevelMetadata},
		{"a kubelet", resource("system:node:a", "system:nodes"), auditinternal.LevelNone},
		{"a controller", resource("system:serviceaccount:kube-system:job-controller", "system:serviceaccounts:kube-system"), auditinternal.LevelNone},
		{"the scheduler", resource("system:kube-scheduler"), auditinternal.LevelNone},
		{"a load balancer", path("system:anonymous", "/readyz", "system:unauthenticated"), auditinternal.LevelNone},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := evaluator.EvaluatePolicyRule(row.request).Level; got != row.want {
				t.Errorf("the level is %s, want %s", got, row.want)
			}
		})
	}
}

// With the flags that the page on installing shows, an event leads to the job and does not have what it wrote.
func TestManifestsAudit_OnARunningAPIServer(t *testing.T) {
	options := site.Jobgate.APIServer("kube-apiserver-audit")
	for _, flag := range pageFlags(t, "audit") {
		switch {
		case strings.HasPrefix(flag, "--audit-policy-file="):
			flag = "--audit-policy-file=" + shipped(t, "audit", "policy.yaml")
		case strings.HasPrefix(flag, "--audit-log-path="):
			continue // the test reads its own
		}
		options.ExtraArgs = append(options.ExtraArgs, flag)
	}
	server, err := site.Plane.StartAPIServer(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	j := loggedInTo(t, server, gitlabtest.Job{Environment: "prod"}, ciJobContext)
	try(t, j.Workspace, "create", "configmap", "audited", "-n", "shop", "--dry-run=server", "--from-literal=a=b")
	eventually.Succeeds(t, func() error {
		events, err := server.AuditEvents(func(e *auditv1.Event) bool {
			return e.Verb == "create" && e.ObjectRef != nil && e.ObjectRef.Resource == "configmaps" && e.User.Username == j.username()
		})
		if err != nil {
			return err
		}
		if len(events) != 1 {
			return fmt.Errorf("there are %d events, not 1", len(events))
		}
		e := events[0]
		if id := e.User.Extra["agent.gitlab.com/ci_job_id"]; len(id) != 1 || id[0] != strconv.FormatInt(j.ID, 10) {
			return fmt.Errorf("the event does not name the job: %v", e.User.Extra)
		}
		if e.Level != auditv1.LevelMetadata || e.RequestObject != nil || e.ResponseObject != nil {
			return errors.New("the event has the object")
		}
		return nil
	})
	others, err := server.AuditEvents(func(e *auditv1.Event) bool { return e.User.Username == "system:apiserver" })
	if err != nil || len(others) > 0 {
		t.Errorf("the API server's own requests are logged: %d events, %v", len(others), err)
	}
}

// pageFlags are the flags in a block ```text flags NAME of the page on installing.
func pageFlags(t *testing.T, name string) []string {
	t.Helper()
	for _, page := range allPages(t) {
		for _, block := range page.Blocks {
			if page.Path == "docs/install.md" && block.Is("text", "example", name) {
				return strings.Fields(block.Text)
			}
		}
	}
	t.Fatalf("docs/install.md has no block ```text example %s", name)
	return nil
}
