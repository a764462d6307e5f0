package doctor_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/doctor"
)

func TestRun_AllIsWell(t *testing.T) {
	s := newSetup(t)
	r := s.run()
	for _, f := range r.Findings {
		if f.State != doctor.OK || f.Do != "" {
			t.Errorf("%s is %s: %s", f.Name, f.State, text(f))
		}
	}
	if r.State != doctor.OK {
		t.Errorf("state is %s", r.State)
	}
	want := &doctor.Job{
		ID: 1001, Pipeline: 1001, Project: 150, Groups: []int64{23}, User: 9, Username: "jdoe",
		EnvironmentSlug: "prod", EnvironmentTier: "production", Agents: []int64{4, 5, 6, 8, 9},
	}
	if diff := cmp.Diff(want, r.Job); diff != "" {
		t.Errorf("job (-want +got):\n%s", diff)
	}
	if r.Identity.Username != "gitlab:ci_job:1001" || len(r.Rights) != 9 || r.Rights[0].Namespace != "web" {
		t.Errorf("identity is %+v, rights %+v", r.Identity, r.Rights)
	}
	for i, token := range s.api.seen {
		if token != "ci:4:"+s.token {
			t.Errorf("request %d shows another token", i)
		}
	}
	if len(s.api.seen) != 10 {
		t.Errorf("the API server was asked %d times", len(s.api.seen))
	}
}

// One thing is wrong at a time; what can still be checked is.
func TestRun_WhatIsNotChecked(t *testing.T) {
	t.Run("outside of a job", func(t *testing.T) {
		s := newSetup(t)
		s.vars = map[string]string{}
		want := map[string]doctor.State{
			"variables": doctor.Failure, "token": doctor.NotChecked, "gitlab": doctor.NotChecked, "job": doctor.NotChecked,
			"kubeconfig": doctor.Failure, "agent": doctor.NotChecked, "access": doctor.NotChecked, "server": doctor.Failure,
			"dns": doctor.NotChecked, "tcp": doctor.NotChecked, "tls": doctor.NotChecked,
			"identity": doctor.NotChecked, "rights": doctor.NotChecked,
		}
		if diff := cmp.Diff(want, states(s.run())); diff != "" {
			t.Errorf("states (-want +got):\n%s", diff)
		}
	})
	t.Run("the job has ended", func(t *testing.T) {
		s := newSetup(t)
		s.endJob()
		want := map[string]doctor.State{
			"variables": doctor.OK, "token": doctor.OK, "gitlab": doctor.Failure, "job": doctor.NotChecked,
			"kubeconfig": doctor.OK, "agent": doctor.NotChecked, "access": doctor.NotChecked, "server": doctor.OK,
			"dns": doctor.OK, "tcp": doctor.OK, "tls": doctor.OK, "identity": doctor.Failure, "rights": doctor.NotChecked,
		}
		r := s.run()
		if diff := cmp.Diff(want, states(r)); diff != "" {
			t.Errorf("states (-want +got):\n%s", diff)
		}
		for _, f := range r.Findings {
			if f.State == doctor.NotChecked && !strings.HasPrefix(f.What, "not checked: ") {
				t.Errorf("%s does not say why it was not checked: %s", f.Name, f.What)
			}
		}
	})
}

func TestReport_JSON(t *testing.T) {
	s := newSetup(t)
	r := s.run()
	var text bytes.Buffer
	if err := json.NewEncoder(&text).Encode(r); err != nil {
		t.Fatal(err)
	}
	var got doctor.Report
	decoder := json.NewDecoder(&text)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, &got); diff != "" {
		t.Errorf("what was encoded and what was decoded (-want +got):\n%s", diff)
	}
}
