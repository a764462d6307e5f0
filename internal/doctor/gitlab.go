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
	"github.com/jobgate/jobgate/internal/rule"
)

// answer is what GitLab said of the job.
type answer struct {
	reply    *gitlab.AllowedAgents // nil: none
	rejected bool                  // GitLab has said that the token is no good
}

// checkGitLab asks GitLab about the job, as jobgate will.
func (e *examination) checkGitLab(ctx context.Context) Finding {
	f := Finding{Name: "gitlab"}
	if e.job.Token.Empty() || e.job.GitLabURL == "" {
		return f.notChecked("the variables for it are missing")
	}
	if e.malformed {
		return f.notChecked(cijob.VarJobToken + " is no token")
	}
	client, err := e.job.Client(e.UserAgent, gitlabTimeout)
	if err != nil {
		f.State, f.What, f.Do = Failure, err.Error(), "check "+cijob.VarServerCAFile+" and the runner's tls-ca-file"
		return f
	}
	defer client.Close()
	start := time.Now()
	reply, err := client.AllowedAgents(ctx, e.job.Token.Text(), gitlab.Login)
	if err != nil {
		var rejected *gitlab.RejectedError
		e.gitlab.rejected = errors.As(err, &rejected)
		f.State = Failure
		f.What, f.Do = explainGitLab(err)
		return f
	}
	e.gitlab.reply = reply
	e.report.Job = newJob(reply)
	f.State = OK
	f.What = fmt.Sprintf("%s answered in %s", e.job.GitLabURL, time.Since(start).Round(time.Millisecond))
	return f
}

func newJob(r *gitlab.AllowedAgents) *Job {
	j := &Job{
		ID: r.JobID, Pipeline: r.PipelineID, Project: r.ProjectID, Groups: r.GroupIDs, User: r.UserID,
		Username: rule.Printable(r.Username, maxLine), Agents: []int64{},
	}
	if r.Environment != nil {
		j.EnvironmentSlug, j.EnvironmentTier = r.Environment.Slug, r.Environment.Tier
	}
	for _, a := range r.Agents {
		j.Agents = append(j.Agents, a.ID)
	}
	return j
}

// explainGitLab says what an answer that is no answer means to the job's author.
func explainGitLab(err error) (what, do string) {
	var rejected *gitlab.RejectedError
	if errors.As(err, &rejected) {
		return explainRejection(rejected)
	}
	var unavailable *gitlab.UnavailableError
	status := 0
	if errors.As(err, &unavailable) {
		status = unavailable.Status
	}
	switch status {
	case 0:
		return err.Error(), reachGitLab(err)
	case http.StatusInternalServerError:
		return err.Error(), "often one agent's environments with a wildcard that is no regular expression (a(b*); " +
			"GitLab's log has it"
	case http.StatusTooManyRequests:
		return err.Error(), "the job's user asks GitLab too often: try again, or have GitLab's limits raised"
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return err.Error(), "GitLab restarts or is overloaded: try again"
	default:
		return err.Error(), "something answers in GitLab's place: a proxy, a login page, a firewall; check what is between"
	}
}

// reachGitLab says what to do where there was no answer at all.
func reachGitLab(err error) string {
	var (
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		dns      *net.DNSError
	)
	switch {
	case errors.As(err, &unknown):
		return "GitLab's certificate is of a CA of its own: set tls-ca-file in the runner's configuration, which sets " +
			cijob.VarServerCAFile
	case errors.As(err, &hostname):
		return "GitLab's certificate is for another name than that in " + cijob.VarAPIURL
	case errors.As(err, &dns):
		return "the runner cannot find GitLab's name: check its DNS"
	default:
		return "GitLab is down, or the runner cannot reach it: try again; check proxies and firewalls"
	}
}

func explainRejection(r *gitlab.RejectedError) (what, do string) {
	switch r.Status {
	case http.StatusForbidden:
		return fmt.Sprintf("GitLab does not let the job's user use its API (403, %s)", rule.Quote(r.Message)),
			"mend the account in GitLab"
	case http.StatusNotFound:
		return cijob.VarJobToken + " is a GitLab token, but no job's (404)",
			"use " + cijob.VarJobToken + " of a running job, not a personal, project or deploy token"
	default:
		return fmt.Sprintf("%s belongs to no running job (GitLab answered %d): the job has ended, or the token is another's",
				cijob.VarJobToken, r.Status),
			"run this while the job runs, and let no CI/CD variable have the name " + cijob.VarJobToken
	}
}

// checkJob compares the job that GitLab knows by the token with the one that the variables name.
func (e *examination) checkJob(context.Context) Finding {
	f := Finding{Name: "job"}
	r := e.gitlab.reply
	if r == nil {
		return f.notChecked("GitLab has not said whose token it is")
	}
	for _, id := range []struct {
		name       string
		own, token int64
	}{{cijob.VarJobID, e.job.ID, r.JobID}, {cijob.VarProjectID, e.job.ProjectID, r.ProjectID}} {
		if id.own != 0 && id.own != id.token {
			f.State = Failure
			f.What = fmt.Sprintf("the token is of job %d of project %d, but %s is %d", r.JobID, r.ProjectID, id.name, id.own)
			f.Do = "use the job's own " + cijob.VarJobToken + ", not one kept in a cache, an artifact or a variable"
			return f
		}
	}
	f.State = OK
	f.What = fmt.Sprintf("job %d, pipeline %d, project %d, groups %s, user %s (%d), %s",
		r.JobID, r.PipelineID, r.ProjectID, listIDs(r.GroupIDs), rule.Quote(r.Username), r.UserID, environmentOf(r))
	return f
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
	return rule.ListIDs(ids)
}
