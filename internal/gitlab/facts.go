package gitlab

import (
	"net/http"

	"github.com/jobgate/jobgate/internal/job"
)

// What would teach a fact that every credential is refused: for the author of a CI job, who reads it in a refusal.
const (
	giveAccess = "ask the cluster's admin to give jobgate an access token with the scope read_api (gitlab.tokenFile)"

	whyEnvironments = "the job token may not read the project's environments; allow it in the project's job token permissions, or " +
		giveAccess
	whyBranches = "the job token may not read the project's branches; " + giveAccess
	whyTags     = "the job token may not read the project's tags; " + giveAccess
	whyAccess   = "jobgate's access token (gitlab.tokenFile) may not read the project; " +
		"ask the cluster's admin to add the token's user to it, with the role Reporter or higher"
	whyProtected = "jobgate's access token (gitlab.tokenFile) may not read the project's protected environments; " +
		"ask the cluster's admin to give the token's user the role Maintainer in the project; GitLab needs a Premium licence for this"
	whyNoAccess = "only an access token may learn it; " + giveAccess
)

// CanAsk implements job.StatusSource: it says whether there is an access token.
func (c *Client) CanAsk() bool { return c.access != credential{} }

// asRejection makes a rejection of GitLab's no to a question that the job token was asked with about itself.
func asRejection(err error) error {
	refused := refusedError(err)
	if refused == nil {
		return err
	}
	rejections := map[int]job.Rejection{
		http.StatusUnauthorized: job.NotRunning,
		http.StatusForbidden:    job.ForbiddenUser,
		http.StatusNotFound:     job.NotAJob,
	}
	return &job.RejectedError{Rejection: rejections[refused.Status], Message: refused.Message}
}

// asFactError says with a refusal what would teach the fact.
func asFactError(err error, why string) error {
	if isRefused(err) {
		return &job.UnlearnableError{Why: why, Refused: true, Err: err}
	}
	return err
}

// asTrouble keeps GitLab's no from deciding anything: it concerns the credential that jobgate asked with.
func asTrouble(err error) error {
	if isDefinite(err) {
		return &job.UnavailableError{Err: err}
	}
	return err
}

// askWithEither asks with the job token, which is the narrower credential, and then, where that is refused, with the
// access token. why is the hint where there is only the job token.
func askWithEither[T any](c *Client, token, why string, ask func(credential) (T, error)) (T, error) {
	if token != "" {
		value, err := ask(jobToken(token))
		if !isRefused(err) || !c.CanAsk() {
			return value, asFactError(err, why)
		}
	}
	value, err := ask(c.access)
	return value, asFactError(err, whyAccess)
}
