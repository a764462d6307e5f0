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
	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/rule"
)

const (
	anonymous            = "system:anonymous"
	serviceAccountPrefix = "system:serviceaccount:"
	// jobgateSays begins every reason of jobgate's, wherever kube-apiserver repeats it.
	jobgateSays = "jobgate: "
	// authorizePath is in the message of an API server that cannot ask its authorization webhook.
	authorizePath = "/authorize"
)

const askAdmin = "ask the cluster's admin: "

// checkIdentity asks the API server whom it takes the job for, and compares that with what GitLab's answer makes of it.
func (e *examination) checkIdentity(ctx context.Context) Finding {
	f := Finding{Name: "identity"}
	switch {
	case e.target.url == nil:
		return f.notChecked(e.target.why)
	case e.network.broken != "":
		return f.notChecked(e.network.broken)
	case e.subject.credential == "":
		return f.notChecked(e.subject.why)
	}
	client, err := newAPI(e.target, e.subject.credential, e.UserAgent)
	if err != nil {
		f.State, f.What, f.Do = Failure, err.Error(), "report this"
		return f
	}
	got, err := client.whoAmI(ctx)
	if err != nil {
		client.close()
		f.State = Failure
		f.What, f.Do = e.explainAPI(err)
		return f
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

// compare says what is wrong with an identity.
func (e *examination) compare(f Finding, got authenticationv1.UserInfo) Finding {
	f.State = Failure
	f.What = fmt.Sprintf("the API server says: user %s, groups %s", e.quote(got.Username), e.groups(got.Groups))
	jobs, denied := got.Extra[extras.Job], got.Extra[extras.Denied]
	switch {
	case got.Username == anonymous:
		f.Do = "no token has arrived: use https, and the context of an agent"
	case len(jobs) == 0:
		f.Do = "this is not jobgate's work: the context's user logs in in another way, or another webhook knows the token"
	case e.gitlab.reply != nil && jobs[0] != strconv.FormatInt(e.gitlab.reply.JobID, 10):
		f.Do = "this is another job: keep no kubeconfig in caches and artifacts"
	case len(denied) > 0:
		f.What, f.Do = "jobgate refuses every request of this job: "+denied[0], "see access, above"
	default:
		return e.compareExpected(f, got)
	}
	return f
}

// compareExpected compares with what jobgate's own code makes of GitLab's answer. An agent's own identity is the cluster
// admin's to choose.
func (e *examination) compareExpected(f Finding, got authenticationv1.UserInfo) Finding {
	f.State = OK
	want := e.expects.user
	if want == nil || (e.expects.mode == gitlab.AsAgent && strings.HasPrefix(got.Username, serviceAccountPrefix)) {
		return f
	}
	var missing []string
	for _, g := range want.GetGroups() {
		if !slices.Contains(got.Groups, g) {
			missing = append(missing, g)
		}
	}
	switch {
	case got.Username != want.GetName():
		f.State = Warning
		f.Do = fmt.Sprintf("by GitLab's answer it would be %s: config.yaml has changed a moment ago, or the admin's "+
			"configuration differs", rule.Quote(want.GetName()))
	case len(missing) > 0:
		f.State = Warning
		f.Do = fmt.Sprintf("by GitLab's answer it would also be in %s: try again in a few seconds, when jobgate has asked anew",
			rule.List(missing))
	}
	return f
}

// groups lists a user's groups, as many as a line may have.
func (e *examination) groups(all []string) string {
	shown := make([]string, 0, maxDetails)
	for _, g := range all[:min(len(all), maxDetails)] {
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
		return "the API server gave no answer: " + err.Error(), "check proxies and firewalls between it and the runner"
	}
	switch code := status.Status().Code; {
	case code == http.StatusUnauthorized:
		return "the API server does not know the token (401)", e.explainUnauthorized()
	case code == http.StatusForbidden:
		return explainForbidden(err.Error())
	case code == http.StatusInternalServerError && strings.Contains(err.Error(), authorizePath):
		return "the API server cannot ask jobgate whether the job may do this: " + err.Error(),
			askAdmin + "jobgate has to run, and authorize.kubeconfig has to name its address, CA and client certificate"
	case code == http.StatusNotFound:
		return what, "an API server before Kubernetes 1.28 does not say who is asking; anything else there is no API server"
	default:
		return what, "check that this is the API server, and that it is well"
	}
}

// explainUnauthorized goes by what GitLab has said: of the API server, nobody outside learns the reason of a 401.
func (e *examination) explainUnauthorized() string {
	switch {
	case e.gitlab.rejected:
		return "GitLab refuses it, too: see gitlab, above"
	case e.gitlab.reply != nil && e.agentID != 0 && e.listed() == nil:
		return "GitLab does not list the agent: see agent, above"
	case e.gitlab.reply == nil:
		return "see the failures above; the reason is in jobgate's log (Token rejected)"
	default:
		return fmt.Sprintf("GitLab lists agent %d, so %sdoes it stand for this cluster (agents in jobgate's configuration)? has "+
			"kube-apiserver jobgate's webhook? the reason is in jobgate's log (Token rejected), or in kube-apiserver's", e.agentID, askAdmin)
	}
}

// explainForbidden shows jobgate's reason as it is.
func explainForbidden(message string) (what, do string) {
	if at := strings.Index(message, jobgateSays); at >= 0 {
		return "refused (403): " + message[at:], "jobgate's reason says what would satisfy it; docs/troubleshooting.md has each one"
	}
	if strings.Contains(message, anonymous) {
		return "refused (403): " + message, "no token has arrived: use https, and the context of an agent"
	}
	return "refused (403): " + message,
		askAdmin + "no Role or ClusterRole grants it; everybody who is logged in may ask who they are (system:basic-user)"
}
