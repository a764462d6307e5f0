package doctor

import (
	"context"
	"errors"
	"fmt"

	"github.com/jobgate/jobgate/internal/cijob"
	"github.com/jobgate/jobgate/internal/idtoken"
	"github.com/jobgate/jobgate/internal/job"
)

// checkIDToken reads the ID token of the context as the cluster would. Only the cluster knows its audience, and whether the
// signature is GitLab's.
func (e *examination) checkIDToken(context.Context) Finding {
	if !e.subject.isIDToken {
		return Finding{}
	}
	f := Finding{Name: "id-token"}
	says, err := idtoken.Inspect(e.subject.credential)
	var rejected *job.RejectedError
	switch left := says.Expires.Sub(e.Now()); {
	case errors.As(err, &rejected):
		return f.Failed("the cluster refuses the ID token: "+rejected.Message,
			"take the variable of an entry under id_tokens in .gitlab-ci.yml as it is, with one aud")
	case err != nil:
		return f.Failed(err.Error(), "report this as a fault of jobgate")
	case e.job.ID != 0 && says.JobID != e.job.ID:
		return f.Failed(fmt.Sprintf("the ID token is job %d's, and this is job %d", says.JobID, e.job.ID),
			"do not keep a kubeconfig in a cache or an artifact; write it again in each job")
	case left <= 0:
		return f.Failed(fmt.Sprintf("the ID token ended %s ago", roughly(-left)),
			"run the job again; a token lasts as long as the job's timeout, which GitLab sets when the job starts")
	default:
		f.What = fmt.Sprintf("for the audience %s, by the issuer %s, valid for %s", e.quote(says.Audience), e.quote(says.Issuer), roughly(left))
		return e.warnOfIDToken(f, says)
	}
}

// warnOfIDToken adds what keeps a good token from being of use, as far as a job can know.
func (e *examination) warnOfIDToken(f Finding, says idtoken.Statement) Finding {
	switch server := e.Variables(cijob.VarServerURL); {
	case server != "" && says.Issuer != server:
		return f.Warned(f.What, fmt.Sprintf("GitLab's address is %s: %sis idTokens.issuer the token's?", e.quote(server), askAdmin))
	case says.IsFork:
		return f.Warned(f.What+"; the job runs in a fork's merge request, so its ref meets no requirement, is not protected, and its user has no role",
			"run the job in a pipeline of the project itself, if a grant requires one of these")
	case says.IsMergeRequest:
		return f.Warned(f.What+"; the job runs in a merge request's pipeline, so its ref meets no requirement and is not protected",
			"run the job in a pipeline of a branch or tag, if a grant requires one of these")
	default:
		return f.Well(f.What)
	}
}
