package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/jobgate/jobgate/internal/extras"
	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
)

const (
	anonymous            = "system:anonymous"
	serviceAccountPrefix = "system:serviceaccount:"
	// jobgateSays is the start of every reason that jobgate gives.
	jobgateSays = "jobgate: "
	// authorizePath is in the message of an API server that cannot reach its authorization webhook.
	authorizePath = "/authorize"
)

const askAdmin = "ask the cluster's admin: "

// checkIdentity asks the API server who the job is, and compares that with GitLab's answer.
func (e *examination) checkIdentity(ctx context.Context) Finding {
	f := Finding{Name: "identity"}
	switch {
	case e.target.url == nil:
		return f.NotChecked(e.target.why)
	case e.network.broken != "":
		return f.NotChecked(e.network.broken)
	case e.subject.credential == "":
		return f.NotChecked(e.subject.why)
	}
	client, err := newAPI(e.target, e.subject.credential, e.UserAgent)
	if err != nil {
		return f.Failed(err.Error(), "report this as a fault of jobgate")
	}
	got, err := client.whoAmI(ctx)
	if err != nil {
		client.close()
		return f.Failed(e.explainAPI(err))
	}
	e.api = client
	e.report.Identity = e.newIdentity(got)
	return e.compare(f, got)
}

// newIdentity bounds what is reported of a user.
func (e *examination) newIdentity(u authenticationv1.UserInfo) *Identity {
	i := &Identity{Username: e.line(u.Username), UID: e.line(u.UID), Extra: map[string][]string{}}
	for _, g := range u.Groups[:min(len(u.Groups), maxGroups)] {
		i.Groups = append(i.Groups, e.line(g))
	}
	keys := slices.Sorted(maps.Keys(u.Extra))
	for _, key := range keys[:min(len(keys), maxExtras)] {
		for _, value := range u.Extra[key] {
			i.Extra[e.line(key)] = append(i.Extra[e.line(key)], e.line(value))
		}
	}
	return i
}

// compare says what is wrong with the identity.
func (e *examination) compare(f Finding, got authenticationv1.UserInfo) Finding {
	what := fmt.Sprintf("the API server says: user %s, groups %s", e.quote(got.Username), e.groups(got.Groups))
	jobs, denied := got.Extra[extras.Job], got.Extra[extras.Denied]
	switch {
	case got.Username == anonymous:
		return f.Failed(what, "the API server has received no token: use https, and the context of the agent or of the cluster")
	case len(jobs) == 0:
		return f.Failed(what,
			"this identity does not come from jobgate: use the context of the agent or of the cluster, whose user presents the job's token")
	case e.gitlab.reply != nil && jobs[0] != strconv.FormatInt(e.gitlab.reply.JobID, 10):
		return f.Failed(what, "this is another job: do not keep a kubeconfig in a cache or an artifact")
	case len(denied) > 0:
		return f.Failed("jobgate refuses every request of this job: "+denied[0], "see access, above")
	default:
		return e.compareExpected(f, what, got)
	}
}

// compareExpected compares the identity with the expected one. The cluster's admin chooses an agent's own identity.
func (e *examination) compareExpected(f Finding, what string, got authenticationv1.UserInfo) Finding {
	want := e.expects.user
	if want == nil || (e.expects.mode == job.AsAgent && strings.HasPrefix(got.Username, serviceAccountPrefix)) {
		return f.Well(what)
	}
	var missing []string
	for _, g := range want.GetGroups() {
		if !slices.Contains(got.Groups, g) {
			missing = append(missing, g)
		}
	}
	switch {
	case got.Username != want.GetName():
		return f.Warned(what, fmt.Sprintf("GitLab's answer gives user %s: config.yaml has changed a moment ago, or the cluster's "+
			"configuration replaces it", policy.Quote(want.GetName())))
	case len(missing) > 0:
		return f.Warned(what, fmt.Sprintf("GitLab's answer gives these groups, too: %s; try again in a few seconds, when jobgate has asked GitLab again",
			policy.List(missing)))
	default:
		return f.Well(what)
	}
}

// groups lists as many of a user's groups as fit in a line.
func (e *examination) groups(all []string) string {
	shown := make([]string, 0, maxShown)
	for _, g := range all[:min(len(all), maxShown)] {
		shown = append(shown, e.line(g))
	}
	if more := len(all) - len(shown); more > 0 {
		shown = append(shown, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(shown, ", ")
}

// explainAPI says what the API server's refusal means, in the words of docs/troubleshooting.md.
func (e *examination) explainAPI(err error) (what, do string) {
	what = "the API server answered: " + err.Error()
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return "the API server gave no answer: " + err.Error(), "check proxies and firewalls between the runner and the API server"
	}
	switch code := status.Status().Code; {
	case code == http.StatusUnauthorized:
		what, do = e.explainUnauthorized()
		return "the API server refuses the token (401)" + what, do
	case code == http.StatusForbidden:
		return explainForbidden(err.Error())
	case code == http.StatusInternalServerError && strings.Contains(err.Error(), authorizePath):
		return "the API server cannot ask jobgate whether the job may do this: " + err.Error(),
			askAdmin + "jobgate must run, and authorize.kubeconfig must have its address, CA and client certificate"
	case code == http.StatusNotFound:
		return what, "check the URL: an API server from Kubernetes 1.28 on says who is asking, anything else is not an API server"
	default:
		return what, "check that this is the API server and that it works"
	}
}

// explainUnauthorized tells the causes of a 401 apart by what earlier checks have found, because the API server gives no
// reason: the job has ended, GitLab does not answer, the agent is not listed, or it is the cluster.
func (e *examination) explainUnauthorized() (what, do string) {
	const logs = "; the reason is in jobgate's log (Token rejected), or in kube-apiserver's"
	switch {
	case e.gitlab.rejected:
		return ", as GitLab does", "see gitlab, above"
	case e.gitlab.away:
		return "; GitLab does not answer this job, so jobgate probably cannot ask it either",
			"try again when GitLab answers; see gitlab, above"
	case e.subject.isIDToken:
		return "", fmt.Sprintf("%sis this cluster's name %s, and idTokens.audience the token's, as id-token shows it, above? does a grant "+
			"admit the project? is the job blocked? does kube-apiserver ask jobgate?%s", askAdmin, e.subject.clusterName, logs)
	case e.subject.clusterName != "":
		return "", fmt.Sprintf("%sis this cluster's name %s, and does a grant admit the project? is the job blocked? does kube-apiserver ask jobgate?%s",
			askAdmin, e.subject.clusterName, logs)
	case e.gitlab.reply == nil:
		return "", "correct the failures above" + logs
	case e.agentID != 0 && e.listed() == nil:
		return fmt.Sprintf(": GitLab does not list agent %d for this job", e.agentID), "see agent, above"
	case e.expects.user == nil:
		return ": jobgate cannot use the agent's ci_access entry", "see access, above"
	default:
		return fmt.Sprintf(", although GitLab lists agent %d for this job", e.agentID),
			askAdmin + "is the agent one of this cluster's (agents in jobgate's configuration)? is the job blocked? does kube-apiserver ask jobgate?" + logs
	}
}

// explainForbidden repeats jobgate's reason word for word.
func explainForbidden(message string) (what, do string) {
	if at := strings.Index(message, jobgateSays); at >= 0 {
		return "refused (403): " + message[at:], "do what the reason says; docs/troubleshooting.md explains each one"
	}
	if strings.Contains(message, anonymous) {
		return "refused (403): " + message, "the API server has received no token: use https, and the context of the agent or of the cluster"
	}
	return "refused (403): " + message,
		askAdmin + "no Role or ClusterRole grants it; system:basic-user usually lets every user ask who they are"
}
