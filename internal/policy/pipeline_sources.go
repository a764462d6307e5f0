package policy

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/jobgate/jobgate/internal/job"
)

// PipelineSources are names as in $CI_PIPELINE_SOURCE. GitLab adds sources over time, so any lower-case name is accepted.
type PipelineSources []string

func (p PipelineSources) validate(path *field.Path) field.ErrorList {
	return words(p, path, job.MergeRequestEvent)
}

func (p PipelineSources) needs() job.Needs { return job.Needs{Facts: job.FactPipelineSource} }

func (p PipelineSources) met(j *job.Job) bool {
	return j.PipelineSource.Known && slices.Contains(p, j.PipelineSource.Value)
}

func (p PipelineSources) unmet(j *job.Job) string {
	is := "the job's was started by " + Quote(j.PipelineSource.Value)
	if !j.PipelineSource.Known {
		is = "what started the job's is not known: " + unknown(j.PipelineSource.Why)
	}
	return fmt.Sprintf("its pipeline must have been started by one of %s, and %s", List(p), is)
}
