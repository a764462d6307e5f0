package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jobgate/jobgate/internal/cijob"
)

const runInJob = "run jobgate doctor in the script of a CI job, with the job's own variables"

// checkVariables looks for the variables that every other check needs.
func (e *examination) checkVariables(context.Context) Finding {
	f := Finding{Name: "variables"}
	if _, err := cijob.Read(e.Variables); err != nil {
		return f.Failed(strings.ReplaceAll(err.Error(), "\n", "; "), runInJob)
	}
	for _, v := range []struct {
		name string
		id   int64
		fact string
	}{
		{cijob.VarJobID, e.job.ID, "whether the token is this job's"},
		{cijob.VarProjectID, e.job.ProjectID, "whether the token is of this project"},
	} {
		if v.id == 0 {
			return f.Warned(fmt.Sprintf("%s is not set, or is not a number, so it is unknown %s", v.name, v.fact), runInJob)
		}
	}
	if strings.HasPrefix(e.job.GitLabURL, "http:") {
		return f.Warned(fmt.Sprintf("%s begins with http://, so the job's token travels unencrypted", cijob.VarAPIURL),
			"ask GitLab's administrator to set up TLS")
	}
	return f.Well(fmt.Sprintf("job %d of project %d on %s", e.job.ID, e.job.ProjectID, e.job.GitLabURL))
}

// checkToken reads the token as jobgate does before it asks GitLab.
func (e *examination) checkToken(context.Context) Finding {
	f := Finding{Name: "token"}
	if e.job.Token.Empty() {
		return f.NotChecked("there is no " + cijob.VarJobToken)
	}
	expires, err := e.job.Token.Check(e.Now())
	switch {
	case errors.Is(err, cijob.ErrExpired):
		return f.Failed(cijob.VarJobToken+": "+err.Error(), "run the job again")
	case err != nil:
		e.malformed = true
		return f.Failed(err.Error(), "use "+cijob.VarJobToken+" as GitLab sets it, and remove any CI/CD variable of that name")
	case !expires.IsZero():
		return f.Well(fmt.Sprintf("%s is a JWT, valid for %s", cijob.VarJobToken, roughly(expires.Sub(e.Now()))))
	default:
		return f.Well(cijob.VarJobToken + " has the form of GitLab's tokens")
	}
}

// roughly is a duration, rounded for a reader.
func roughly(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= 2*day {
		return fmt.Sprintf("%d days", d/day)
	}
	return d.Round(time.Minute).String()
}
