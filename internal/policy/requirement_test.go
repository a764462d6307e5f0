package policy_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
)

// requirementRow is a requirement and a job. The reason is the whole clause of a refusal; empty: the job meets it.
type requirementRow struct {
	name    string
	require policy.Requirements
	job     job.Job
	unmet   string
}

// testRequirement asks a restriction that has the requirement alone.
func testRequirement(t *testing.T, rows []requirementRow) {
	t.Helper()
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			r := restriction(policy.Restriction{Name: "r", Require: row.require})
			if met := r.Met(&row.job); met != (row.unmet == "") {
				t.Errorf("met is %t", met)
			}
			if got := r.Unmet(&row.job); got != row.unmet {
				t.Errorf("reason is\n%q, want\n%q", got, row.unmet)
			}
		})
	}
}

func restriction(r policy.Restriction) *policy.CompiledRestriction {
	return &policy.Compile(policy.Rules{Restrictions: []policy.Restriction{r}}).Restrictions[0]
}

// testValidation wants the errors of requirements, each as it is shown.
func testValidation(t *testing.T, rows []validationRow) {
	t.Helper()
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if diff := cmp.Diff(row.errors, texts(row.require.Validate(field.NewPath("require")))); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}

type validationRow struct {
	name    string
	require policy.Requirements
	errors  []string
}

func texts(errs field.ErrorList) []string {
	var all []string
	for _, err := range errs {
		all = append(all, err.Error())
	}
	return all
}

// wantNeeds checks what is asked for of a job, and what its identity carries, because of a requirement.
func wantNeeds(t *testing.T, require policy.Requirements, want job.Needs) {
	t.Helper()
	p := policy.Compile(policy.Rules{Restrictions: []policy.Restriction{{Name: "r", Require: require}}})
	if diff := cmp.Diff(want, p.Needs(&job.Job{})); diff != "" {
		t.Errorf("needs (-want +got):\n%s", diff)
	}
	if got := p.ExtrasForAgent(4); got != want.Facts {
		t.Errorf("extras are %b, want %b", got, want.Facts)
	}
}

// tryAgain ends a clause about a fact that could not be asked for.
const tryAgain = "jobgate could not ask GitLab for it just now; try again in a few seconds"

// inEnvironment is a job in an environment; the name is empty where it is not known.
func inEnvironment(slug, tier, name string) job.Job {
	e := job.Environment{Slug: slug, Tier: tier}
	if name != "" {
		e.Name = job.KnownFact(name)
	}
	return job.Job{Environment: e}
}

// one is Requirements with one requirement of each kind.
var one = policy.Requirements{
	Environments: policy.Environments{"production"}, EnvironmentTiers: policy.EnvironmentTiers{"production"}, EnvironmentProtected: true,
	ProtectedRef: true, Refs: policy.Refs{"main"}, RefTypes: policy.RefTypes{"branch"}, PipelineSources: policy.PipelineSources{"push"},
	Projects: policy.Projects{150}, Groups: policy.Groups{23}, Roles: policy.Roles{"maintainer"},
}

// meeting is a job that meets one.
func meeting() job.Job {
	return job.Job{
		ProjectID: 150, Groups: job.KnownFact([]int64{25, 23}), Roles: job.KnownFact([]string{"guest", "maintainer"}),
		Environment: job.Environment{
			Slug: "production", Tier: "production", Name: job.KnownFact("production"), Protected: job.KnownFact(true),
		},
		Ref: job.Ref{Name: "main", Type: job.Branch, Protection: job.Protected}, PipelineSource: job.KnownFact("push"),
	}
}

// Each field of Requirements is a requirement: it has a key, its documentation and an example, alone it is something to
// require, the empty job does not meet it, and its errors name its key.
func TestRequirements_EachFieldIsOne(t *testing.T) {
	whole, typ := reflect.ValueOf(one), reflect.TypeFor[policy.Requirements]()
	for i := range typ.NumField() {
		f := typ.Field(i)
		t.Run(f.Name, func(t *testing.T) {
			for _, tag := range []string{"json", "doc", "example"} {
				if f.Tag.Get(tag) == "" {
					t.Errorf("no tag %s", tag)
				}
			}
			key := f.Tag.Get("json")
			if want := strings.ToLower(f.Name[:1]) + f.Name[1:]; key != want {
				t.Errorf("key is %q, want %q", key, want)
			}
			if doc := f.Tag.Get("doc"); !strings.HasSuffix(doc, ".") {
				t.Errorf("the documentation is no sentence: %q", doc)
			}
			if whole.Field(i).IsZero() {
				t.Fatal("the test has no value of it")
			}
			var alone policy.Requirements
			reflect.ValueOf(&alone).Elem().Field(i).Set(whole.Field(i))
			if alone.IsZero() {
				t.Error("a set one counts as zero")
			}
			if errs := alone.Validate(field.NewPath("require")); len(errs) > 0 {
				t.Errorf("refused: %v", errs)
			}
			r := restriction(policy.Restriction{Name: "r", Require: alone})
			j := meeting()
			if !r.Met(&j) || r.Met(&job.Job{}) || r.Unmet(&job.Job{}) == "" {
				t.Errorf("a job that meets it: %t; an empty job: %t, %q", r.Met(&j), r.Met(&job.Job{}), r.Unmet(&job.Job{}))
			}
		})
	}
}

// Package config checks single values by the tags, so they must say what the vocabulary says.
func TestRequirements_TagsBoundTheValues(t *testing.T) {
	typ := reflect.TypeFor[policy.Requirements]()
	tag := func(field, tag string) string {
		f, _ := typ.FieldByName(field)
		return f.Tag.Get(tag)
	}
	if got, want := tag("EnvironmentTiers", "enum"), strings.Join(job.Tiers, ","); got != want {
		t.Errorf("tiers are %s, want %s", got, want)
	}
	if got, want := tag("RefTypes", "enum"), string(job.Branch+","+job.Tag); got != want {
		t.Errorf("types of refs are %s, want %s", got, want)
	}
	for _, typ := range []reflect.Type{typ, reflect.TypeFor[policy.Grant](), reflect.TypeFor[policy.Blocked]()} {
		for i := range typ.NumField() {
			f := typ.Field(i)
			if f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Int64 && f.Tag.Get("bounds") != "at least 1" {
				t.Errorf("%s.%s has ids without their bounds", typ.Name(), f.Name)
			}
		}
	}
}

func TestRequirements_EmptyRequireNothing(t *testing.T) {
	empty := policy.Requirements{Environments: policy.Environments{}, Projects: policy.Projects{}}
	if !empty.IsZero() {
		t.Error("empty lists are something to require")
	}
	r := restriction(policy.Restriction{Name: "r", Require: empty})
	if !r.Met(&job.Job{}) || r.Unmet(&job.Job{}) != "" {
		t.Errorf("not met: %s", r.Unmet(&job.Job{}))
	}
	wantNeeds(t, empty, job.Needs{})
}

// Of all requirements that a job meets, each denies alone as soon as it is not met, and its reason names it alone.
func TestRequirements_AllMustHold(t *testing.T) {
	r := restriction(policy.Restriction{Name: "r", Require: one})
	rows := []struct {
		name   string
		change func(*job.Job)
		unmet  string // empty: met
	}{
		{"all met", func(*job.Job) {}, ""},
		{"environment", func(j *job.Job) { j.Environment.Name = job.KnownFact("production-") },
			`its environment must be one of "production", and the job's is "production-"`},
		{"tier", func(j *job.Job) { j.Environment.Tier = "other" }, `its environment's tier must be one of "production", and the job's is "other"`},
		{"environment's protection", func(j *job.Job) { j.Environment.Protected.Value = false },
			"its environment must be protected in GitLab, and the job's is not"},
		{"ref's protection", func(j *job.Job) { j.Ref.Protection = job.Unprotected }, `its ref must be protected, and the job's ref "main" is not protected`},
		{"ref", func(j *job.Job) { j.Ref.Name = "x" }, `its branch or tag must be one of "main", and the job's is "x"`},
		{"ref type", func(j *job.Job) { j.Ref.Type = job.Tag }, `it must run for one of "branch", and the job runs for a tag`},
		{"source", func(j *job.Job) { j.PipelineSource.Value = "web" },
			`its pipeline must have been started by one of "push", and the job's was started by "web"`},
		{"project", func(j *job.Job) { j.ProjectID = 1 }, "its project must be one of 150, and the job's is 1"},
		{"group", func(j *job.Job) { j.Groups.Value = nil }, "its project must be in one of the groups 23, and it is in none of them"},
		{"role", func(j *job.Job) { j.Roles.Value = nil }, `its user must have one of the roles "maintainer" in the project, and has none of them`},
		{"two", func(j *job.Job) { j.ProjectID, j.Ref.Name = 1, "x" },
			`its branch or tag must be one of "main", and the job's is "x"; its project must be one of 150, and the job's is 1`},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			j := meeting()
			row.change(&j)
			if got := r.Unmet(&j); got != row.unmet || r.Met(&j) != (row.unmet == "") {
				t.Errorf("met: %t, reason is\n%q, want\n%q", r.Met(&j), got, row.unmet)
			}
		})
	}
}

func TestRequirements_ValidationNamesKeyAndPlace(t *testing.T) {
	testValidation(t, []validationRow{
		{name: "all good", require: one},
		{name: "several", require: policy.Requirements{
			Environments: policy.Environments{"a", ""}, Refs: policy.Refs{" "},
		}, errors: []string{
			`require.environments[1]: Invalid value: "": must not be blank`,
			`require.refs[0]: Invalid value: " ": must not be blank`,
		}},
	})
}

func TestRequirements_NeedWhatTheyAskForTogether(t *testing.T) {
	wantNeeds(t, one, job.Needs{
		Facts: job.FactEnvironment | job.FactEnvironmentProtected | job.FactRef | job.FactRefType | job.FactRefProtected |
			job.FactPipelineSource | job.FactGroups | job.FactRoles,
		Environments: []string{"production"}, AnyEnvironment: true,
	})
}

func TestRequirements_ReasonRepeatsNothingUnescapedOrUnbounded(t *testing.T) {
	hostile := "\x1b[31m\n\"" + strings.Repeat("x", 5000)
	many := []string{hostile, hostile, hostile, hostile, hostile, hostile, hostile}
	r := restriction(policy.Restriction{Name: "r", Require: policy.Requirements{
		Environments: many, EnvironmentTiers: many, EnvironmentProtected: true, ProtectedRef: true, Refs: many, RefTypes: many,
		PipelineSources: many, Roles: many,
	}})
	known := job.Job{
		Environment:    job.Environment{Slug: hostile, Tier: hostile, Name: job.KnownFact("*" + hostile), Protected: job.KnownFact(false)},
		Ref:            job.Ref{Name: "*" + hostile, Type: job.Branch},
		PipelineSource: job.KnownFact("*" + hostile),
	}
	unknown := job.Job{
		Environment:    job.Environment{Slug: hostile, Tier: "*", Name: job.Fact[string]{Why: hostile}},
		Ref:            job.Ref{Why: hostile, ProtectionWhy: hostile},
		PipelineSource: job.Fact[string]{Why: hostile}, Roles: job.Fact[[]string]{Why: hostile},
	}
	for name, j := range map[string]job.Job{"known": known, "unknown": unknown} {
		t.Run(name, func(t *testing.T) {
			reason := r.Unmet(&j)
			if len(reason) < 1000 || len(reason) > 8000 {
				t.Errorf("the reason has %d bytes: %s", len(reason), reason)
			}
			if strings.ContainsAny(reason, "\x1b\n") {
				t.Errorf("the reason has control characters: %q", reason)
			}
		})
	}
}
