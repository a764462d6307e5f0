package e2e_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/jobgate/jobgate/internal/eventually"
	"github.com/jobgate/jobgate/internal/gitlabtest"

	"github.com/jobgate/jobgate/e2e/kubectl"
)

const flowProbe = "get --raw /version -v=8"

// flowOf is the FlowSchema that the API server put a request in, by its UID, and what kubectl printed.
func flowOf(t *testing.T, w *kubectl.Workspace) (uid string, result kubectl.Result) {
	t.Helper()
	result = try(t, w, strings.Fields(flowProbe)...)
	if m := regexp.MustCompile(`(?i)X-Kubernetes-Pf-Flowschema-Uid: (\S+)`).FindStringSubmatch(result.Stderr); m != nil {
		uid = m[1]
	}
	return uid, result
}

func flowUID(t *testing.T, name string) string {
	t.Helper()
	return succeed(t, admin(t), "get", "flowschema", name, "--output=jsonpath={.metadata.uid}")
}

// Jobs of an agent with a ServiceAccount are outside, as the file says.
func TestManifestsFlowControl_JobsHaveTheirOwnFlow(t *testing.T) {
	file := shipped(t, "flowcontrol", "ci-jobs.yaml")
	succeed(t, admin(t), "apply", "--validate=strict", "-f", file)
	putBack(t, admin(t), "delete", "-f", file)
	flows := map[string]string{}
	for _, name := range []string{"gitlab-ci-jobs", "service-accounts", "exempt"} {
		flows[name] = flowUID(t, name)
	}
	for _, row := range []struct {
		name string
		user *kubectl.Workspace
		want string
	}{
		{"ci_job", loggedIn(t, gitlabtest.Job{}, ciJobContext).Workspace, "gitlab-ci-jobs"},
		{"agent", loggedIn(t, gitlabtest.Job{}, bareContext).Workspace, "gitlab-ci-jobs"},
		{"agent with a ServiceAccount", loggedIn(t, gitlabtest.Job{}, serviceAccountContext).Workspace, "service-accounts"},
		{"admin", admin(t), "exempt"},
	} {
		t.Run(row.name, func(t *testing.T) {
			eventually.Succeeds(t, func() error {
				if uid, result := flowOf(t, row.user); uid != flows[row.want] {
					return fmt.Errorf("the request is in flow %q and not in %s, %q: %s", uid, row.want, flows[row.want], result)
				}
				return nil
			})
		})
	}
}

// storm sends requests of one user at once, and counts those that are refused for want of a seat.
func storm(t *testing.T, w *kubectl.Workspace) (refused int) {
	t.Helper()
	c, err := clientcmd.BuildConfigFromFlags("", w.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	client, err := rest.HTTPClientFor(c)
	if err != nil {
		t.Fatal(err)
	}
	statuses := make([]int, 100)
	var all errgroup.Group
	for i := range statuses {
		all.Go(func() error {
			response, err := client.Get(c.Host + "/version")
			if err == nil {
				statuses[i], err = response.StatusCode, response.Body.Close()
			}
			return err
		})
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, status := range statuses {
		switch status {
		case http.StatusTooManyRequests:
			refused++
		case http.StatusOK:
		default:
			t.Errorf("status %d", status)
		}
	}
	return refused
}

// While the jobs' level is full, jobs are refused and other users are served. The level here has one seat and no queue, and is
// for one job alone, since the site's other tests have jobs, too.
func TestManifestsFlowControl_OthersAreServedWhileTheJobsLevelIsFull(t *testing.T) {
	text, err := os.ReadFile(shipped(t, "flowcontrol", "ci-jobs.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	full, other := loggedIn(t, gitlabtest.Job{}, ciJobContext), loggedIn(t, gitlabtest.Job{}, serviceAccountContext)
	manifest := string(text)
	for _, change := range [][2]string{
		{"name: gitlab-ci-jobs\n", "name: gitlab-ci-jobs-full\n"},
		{"nominalConcurrencyShares: 20", "nominalConcurrencyShares: 0"},
		{"lendablePercent: 50", "lendablePercent: 0"},
		{"borrowingLimitPercent: 100", "borrowingLimitPercent: 0"},
		{"matchingPrecedence: 1000", "matchingPrecedence: 999"},
	} {
		if !strings.Contains(manifest, change[0]) {
			t.Fatalf("the file does not show %q", change[0])
		}
		manifest = strings.ReplaceAll(manifest, change[0], change[1])
	}
	manifest = regexp.MustCompile(`(?s)limitResponse:\n.*?\n---`).ReplaceAllString(manifest, "limitResponse: {type: Reject}\n---")
	manifest = regexp.MustCompile(`(?s)subjects:\n.*?    resourceRules`).ReplaceAllString(manifest,
		"subjects: [{kind: User, user: {name: '"+full.username()+"'}}]\n    resourceRules")
	apply(t, manifest)
	putBack(t, admin(t), "delete", "flowschema,prioritylevelconfiguration", "gitlab-ci-jobs-full")
	eventually.Succeeds(t, func() error {
		if storm(t, full.Workspace) == 0 {
			return errors.New("no request of the job is refused")
		}
		return nil
	})
	for name, w := range map[string]*kubectl.Workspace{"a ServiceAccount": other.Workspace, "admin": admin(t)} {
		if refused := storm(t, w); refused > 0 {
			t.Errorf("%s: %d requests are refused", name, refused)
		}
	}
}
