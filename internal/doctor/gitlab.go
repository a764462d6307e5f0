package doctor

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/jobgate/jobgate/internal/cijob"
	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
)

// answer is what GitLab said of the job.
type answer struct {
	reply    *gitlab.AllowedAgents // nil: none
	rejected bool                  // GitLab has refused the token
	away     bool                  // GitLab has not answered, or not as GitLab does
}

// checkGitLab asks GitLab about the job, as jobgate does.
func (e *examination) checkGitLab(ctx context.Context) Finding {
	f := Finding{Name: "gitlab"}
	if e.job.Token.Empty() || e.job.GitLabURL == "" {
		return f.NotChecked("CI_JOB_TOKEN or the address of GitLab is missing")
	}
	if e.malformed {
		return f.NotChecked(cijob.VarJobToken + " is not a token")
	}
	client, err := e.job.Client(e.UserAgent, gitlabTimeout)
	if err != nil {
		return f.Failed(err.Error(), "check "+cijob.VarServerCAFile+", which comes from tls-ca-file in the runner's configuration")
	}
	defer client.Close()
	start := time.Now()
	reply, err := client.AllowedAgents(ctx, e.job.Token.Text(), job.Logins)
	if err != nil {
		var rejected *job.RejectedError
		e.gitlab.rejected = errors.As(err, &rejected)
		e.gitlab.away = !e.gitlab.rejected
		return f.Failed(explainGitLab(err))
	}
	e.gitlab.reply = reply
	e.report.Job = newJob(reply)
	return f.Well(fmt.Sprintf("%s answered in %s", e.job.GitLabURL, time.Since(start).Round(time.Millisecond)))
}

func newJob(r *gitlab.AllowedAgents) *Job {
	j := &Job{
		ID: r.JobID, Pipeline: r.PipelineID, Project: r.ProjectID, Groups: r.GroupIDs, User: r.UserID,
		Username: policy.Printable(r.Username, maxLine), Agents: []int64{},
	}
	if r.Environment != nil {
		j.EnvironmentSlug, j.EnvironmentTier = r.Environment.Slug, r.Environment.Tier
	}
	for _, a := range r.Agents {
		j.Agents = append(j.Agents, a.ID)
	}
	return j
}

// explainGitLab says what GitLab's refusal or silence means to the job's author.
func explainGitLab(err error) (what, do string) {
	var rejected *job.RejectedError
	if errors.As(err, &rejected) {
		return explainRejection(rejected)
	}
	var unavailable *gitlab.RequestError
	status := 0
	if errors.As(err, &unavailable) {
		status = unavailable.Status
	}
	switch status {
	case 0:
		return err.Error(), reachGitLab(err)
	case http.StatusInternalServerError:
		return err.Error(), "often the environments of one agent have a wildcard that is not a valid regular expression, such as a(b*; " +
			"ask GitLab's administrator to look into its log"
	case http.StatusTooManyRequests:
		return err.Error(), "the job's user has asked GitLab too often: try again later, or ask GitLab's administrator to raise the limit"
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return err.Error(), "GitLab is restarting or overloaded: try again in a few minutes"
	default:
		return err.Error(), "something else answers instead of GitLab, such as a proxy, a login page or a firewall: check what is between the runner and GitLab"
	}
}

// reachGitLab says what to do if there was no answer at all.
func reachGitLab(err error) string {
	var (
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		dns      *net.DNSError
	)
	switch {
	case errors.As(err, &unknown):
		return "the image does not know the CA of GitLab's certificate: set tls-ca-file in the runner's configuration, which sets " +
			cijob.VarServerCAFile
	case errors.As(err, &hostname):
		return "GitLab's certificate is not for the name in " + cijob.VarAPIURL + ": ask GitLab's administrator"
	case errors.As(err, &dns):
		return "the runner cannot look up GitLab's name: check its DNS"
	default:
		return "GitLab is down, or the runner cannot reach it: try again, and check proxies and firewalls"
	}
}

func explainRejection(r *job.RejectedError) (what, do string) {
	switch r.Rejection {
	case job.ForbiddenUser:
		return fmt.Sprintf("GitLab does not let the job's user use its API (403, %s)", policy.Quote(r.Message)),
			"correct the account in GitLab, or have another user run the job"
	case job.NotAJob:
		return cijob.VarJobToken + " is a GitLab token, but not a job's (404)",
			"use " + cijob.VarJobToken + " of a running job, and not a personal, project or deploy token"
	default:
		return fmt.Sprintf("the job has ended: GitLab knows no running job with this %s (it answered 401)",
				cijob.VarJobToken),
			"run the job again; if it is still running, remove any CI/CD variable with the name " + cijob.VarJobToken
	}
}

// checkJob compares the job that GitLab knows by the token with the one that the variables name.
func (e *examination) checkJob(context.Context) Finding {
	f := Finding{Name: "job"}
	r := e.gitlab.reply
	if r == nil {
		return f.NotChecked("GitLab has not said which job the token belongs to")
	}
	for _, id := range []struct {
		name       string
		own, token int64
	}{{cijob.VarJobID, e.job.ID, r.JobID}, {cijob.VarProjectID, e.job.ProjectID, r.ProjectID}} {
		if id.own != 0 && id.own != id.token {
			return f.Failed(fmt.Sprintf("the token belongs to job %d of project %d, but %s is %d", r.JobID, r.ProjectID, id.name, id.own),
				"use the job's own "+cijob.VarJobToken+", and not one from a cache, an artifact or a variable")
		}
	}
	return f.Well(fmt.Sprintf("job %d, pipeline %d, project %d, groups %s, user %s (%d), %s",
		r.JobID, r.PipelineID, r.ProjectID, listIDs(r.GroupIDs), policy.Quote(r.Username), r.UserID, environmentOf(r)))
}

func environmentOf(r *gitlab.AllowedAgents) string {
	if r.Environment == nil {
		return "no environment"
	}
	return fmt.Sprintf("environment %s of tier %s", r.Environment.Slug, r.Environment.Tier)
}

func listIDs(ids []int64) string {
	if len(ids) == 0 {
		return "none"
	}
	return policy.ListIDs(ids)
}
