package gitlabtest_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/gitlabtest"
)

func TestVariables_SayWhoAndWhereTheJobIs(t *testing.T) {
	w := example("")
	w.Jobs[0].Token, w.Jobs[0].Pipeline.SHA = "glcbt-64_given", "0ff3ae198f8601a285adcf5c0fff204ee6fba5fd"
	g := startInstance(t, w)
	want := []string{
		"CI=true", "GITLAB_CI=true", "CI_SERVER_URL=" + g.URL(), "CI_API_V4_URL=" + g.URL() + "/api/v4",
		"CI_JOB_ID=1001", "CI_JOB_TOKEN=glcbt-64_given", "CI_PIPELINE_ID=501", "CI_PIPELINE_SOURCE=push",
		"CI_PROJECT_ID=150", "CI_PROJECT_PATH=group1/group1-1/project1", "CI_PROJECT_NAMESPACE=group1/group1-1",
		"CI_PROJECT_ROOT_NAMESPACE=group1", "CI_COMMIT_REF_NAME=main",
		"CI_COMMIT_SHA=0ff3ae198f8601a285adcf5c0fff204ee6fba5fd", "CI_COMMIT_REF_PROTECTED=true",
		"CI_ENVIRONMENT_NAME=prod", "CI_ENVIRONMENT_SLUG=prod", "CI_ENVIRONMENT_TIER=production",
	}
	got, err := g.Variables(job)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := g.Variables(77); !errors.Is(err, gitlabtest.ErrNoJob) {
		t.Errorf("of no job: %v", err)
	}
}
