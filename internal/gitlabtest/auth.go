package gitlabtest

import (
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// principal is who a request comes from: a job, the owner of an access token or, as the zero value, no one known.
type principal struct {
	user   *User
	job    *Job         // nil unless a job token was the credential
	access *AccessToken // nil unless an access token was the credential
}

// The texts after "403 Forbidden - " for users who may not use the API (lib/gitlab/auth/user_access_denied_reason.rb).
const (
	DeniedInternal        = "This action cannot be performed by internal users"
	DeniedPendingApproval = "Your account is pending approval from your administrator and hence blocked."
	DeniedBlocked         = "Your account has been blocked."
)

// maxForm bounds a form body that is read for credentials.
const maxForm = 64 << 10

// credentials are what the API looks at. On these routes it does not look at HTTP Basic.
type credentials struct {
	bearer       string
	privateToken string
	jobToken     string
}

// readCredentials: a parameter beats a header of the same kind, and job_token beats token
// (lib/gitlab/auth/auth_finders.rb).
func readCredentials(r *http.Request) credentials {
	params := parameters(r)
	header := func(name string) string { return strings.Join(r.Header.Values(name), ", ") } // as Rack joins them
	return credentials{
		bearer:       bearer(header("Authorization")),
		privateToken: firstPresent(params.Get("private_token"), header("Private-Token")),
		jobToken:     firstPresent(params.Get("job_token"), params.Get("token"), header("Job-Token")),
	}
}

// parameters are those of the query and, as Rack has it for any method, of a form in the body.
func parameters(r *http.Request) url.Values {
	params := r.URL.Query()
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil ||
		media != "application/x-www-form-urlencoded" {
		return params
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxForm))
	if err != nil {
		return params
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return params
	}
	for name, values := range form {
		params[name] = values
	}
	return params
}

func bearer(authorization string) string {
	scheme, token, found := strings.Cut(authorization, " ")
	if !found || !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

func firstPresent(candidates ...string) string {
	for _, c := range candidates {
		if strings.TrimSpace(c) != "" {
			return c
		}
	}
	return ""
}

// authenticate finds out who asks (API::APIGuard#find_user_from_sources, lib/api/api_guard.rb), in this order:
//
//  1. a job token as bearer, where the route takes job tokens; a bad one falls through,
//  2. an access token; strings that look like a current job token are passed over, any other unknown one is refused,
//  3. a job token as parameter or header, where the route takes job tokens; a bad one is refused.
//
// So a good access token beside a job token wins, and the job is then not seen.
func (st *state) authenticate(r *http.Request, takesJobTokens, anyScope bool, now time.Time) (principal, error) {
	c := readCredentials(r)
	if takesJobTokens && c.bearer != "" {
		if job := st.liveJob(c.bearer); job != nil && job.User != 0 {
			return st.permitted(principal{user: st.users[job.User], job: job})
		}
	}
	if token := firstPresent(c.privateToken, c.bearer); token != "" && !strings.HasPrefix(token, jobTokenPrefix) {
		access := st.accessTokens[token]
		switch {
		case access == nil:
			return principal{}, errUnauthorized
		case !anyScope && !slices.Contains(access.Scopes, "api") && !slices.Contains(access.Scopes, "read_api"):
			return principal{}, errInsufficientScope
		case !access.Expires.IsZero() && !now.Before(access.Expires):
			return principal{}, errExpiredToken
		case access.Revoked:
			return principal{}, errRevokedToken
		}
		return st.permitted(principal{user: st.users[access.User], access: access})
	}
	if takesJobTokens && c.jobToken != "" {
		job := st.liveJob(c.jobToken)
		if job == nil || job.User == 0 {
			return principal{}, errUnauthorized
		}
		return st.permitted(principal{user: st.users[job.User], job: job})
	}
	return principal{}, nil
}

func (st *state) permitted(who principal) (principal, error) {
	if who.user.DeniedReason != "" {
		return principal{}, forbidden(who.user.DeniedReason)
	}
	return who, nil
}

// liveJob is Ci::AuthJobFinder (app/finders/ci/auth_job_finder.rb): the job whose token this is, if the token is good
// now. It is nil for a job that is finished, erased or deleted and for a token that is expired or unknown.
func (st *state) liveJob(token string) *Job {
	job := st.jobOfToken(token)
	if job == nil || job.Erased || st.projects[job.Project].PendingDelete {
		return nil
	}
	switch job.Status {
	case "running":
		return job
	case "canceling":
		if !st.instance.Settings.RejectsCanceling {
			return job
		}
	}
	return nil
}

func (st *state) jobOfToken(token string) *Job {
	if len(token) > maxJobTokenBytes {
		return nil
	}
	settings := &st.instance.Settings
	if id, expired, signed := st.mint.jobID(token, settings.InstanceTokenPrefix); signed {
		if expired {
			return nil
		}
		return st.jobs[id]
	}
	known := strings.HasPrefix(token, jobTokenPrefix) ||
		settings.InstanceTokenPrefix != "" && strings.HasPrefix(token, settings.InstanceTokenPrefix+"-")
	if !known && !settings.AcceptsAnyTokenShape {
		return nil
	}
	return st.jobsByToken[token]
}
