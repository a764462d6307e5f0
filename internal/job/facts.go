package job

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
)

// Facts is a set of facts about a job, each by the name that its extra has below jobgate.io/.
type Facts uint16

// The facts.
const (
	FactEnvironment          Facts = 1 << iota // the environment's full name
	FactEnvironmentProtected                   // whether GitLab protects the environment
	FactRef                                    // the ref's name, and whether the pipeline is a merge request's
	FactRefType                                // branch or tag
	FactRefProtected                           // whether the ref is protected
	FactPipelineSource                         // what started the pipeline
	FactGroups                                 // the ids of the project's groups
	FactRoles                                  // the roles of the job's user in the project
	FactUserID                                 // the user's id
	FactCommit                                 // the commit's SHA
	FactURL                                    // the job's page
)

// details are the facts that come with one question.
const details = FactRef | FactRefType | FactPipelineSource | FactCommit | FactURL

// Has says whether the set has any of the facts.
func (f Facts) Has(some Facts) bool { return f&some != 0 }

// Needs are the facts that rules ask for. The zero value asks for none.
type Needs struct {
	Facts Facts
	// Environments are the patterns that the environment's name is compared with.
	Environments []string
	// AnyEnvironment asks for the environment's name whatever it is.
	AnyEnvironment bool
}

// Or is what either asks for.
func (n Needs) Or(m Needs) Needs {
	n.Facts |= m.Facts
	n.Environments = slices.Concat(n.Environments, m.Environments)
	n.AnyEnvironment = n.AnyEnvironment || m.AnyEnvironment
	return n
}

// learner asks for the facts of one job.
type learner struct {
	source FactSource
	token  string
}

// learn returns the job with the facts that before knows and those that it asks for. A job keeps what it has learned.
// What cannot be learned leaves its reason; what could not be asked for leaves nothing, and is asked with the next
// refresh.
func (l *learner) learn(ctx context.Context, j, before *Job, needs Needs) *Job {
	if before != nil {
		j = j.withFactsOf(before)
	}
	wantsRef := (needs.Facts.Has(details) && !j.hasDetails()) || (needs.Facts.Has(FactRefProtected) && j.needsProtection())
	wantsEnvironment := j.Environment.Exists() && !j.knowsEnvironment(needs)
	if !wantsRef && !wantsEnvironment {
		return j
	}
	learned := *j
	var both sync.WaitGroup
	// A panic in a new goroutine would end the process, so each recovers; the fact is asked for again later.
	if wantsRef {
		both.Go(func() { _ = recovered(func() error { l.learnRef(ctx, &learned, needs); return nil }) })
	}
	if wantsEnvironment {
		asked := *j // read here while the other goroutine writes its own fields
		both.Go(func() {
			_ = recovered(func() error { l.learnEnvironment(ctx, &asked, needs); return nil })
			learned.Environment = asked.Environment
		})
	}
	both.Wait()
	return &learned
}

func (l *learner) learnRef(ctx context.Context, j *Job, needs Needs) {
	if !j.hasDetails() {
		d, err := l.source.Details(ctx, l.token, j)
		if err != nil {
			j.Ref.Why = why(err)
			j.Ref.ProtectionWhy = j.Ref.Why
			j.PipelineSource.Why = j.Ref.Why
			return
		}
		j.Ref, j.Commit, j.URL = d.Ref, d.Commit, d.URL
		if d.PipelineSource != "" {
			j.PipelineSource = KnownFact(d.PipelineSource)
		} else {
			j.PipelineSource.Why = "this GitLab is too old to say what started a pipeline"
		}
	}
	if !needs.Facts.Has(FactRefProtected) || !j.needsProtection() {
		return
	}
	isProtected, err := l.source.RefProtected(ctx, l.token, j)
	switch {
	case err != nil:
		j.Ref.ProtectionWhy = why(err)
	case isProtected:
		j.Ref.Protection = Protected
	default:
		j.Ref.Protection = Unprotected
	}
}

// learnEnvironment asks first for each literal name that the environment could have: one call each. Only a wildcard makes
// it look for the name.
func (l *learner) learnEnvironment(ctx context.Context, j *Job, needs Needs) {
	e := &j.Environment
	for _, pattern := range needs.Environments {
		if isWildcard(pattern) || e.Name.isSettled() || !e.MayMatch(pattern) {
			continue
		}
		named, err := l.source.EnvironmentNamed(ctx, l.token, j, pattern)
		switch {
		case err != nil:
			e.Name = unknownFact[string](err)
		case named:
			e.Name, e.NotMatching = KnownFact(pattern), nil
		default:
			e.NotMatching = append(slices.Clone(e.NotMatching), pattern)
		}
	}
	if needs.wholeName(e) {
		patterns := needs.Environments
		if needs.AnyEnvironment {
			patterns = nil
		}
		name, err := l.source.EnvironmentName(ctx, l.token, j, patterns)
		switch {
		case errors.Is(err, ErrNoMatch):
			e.NotMatching = slices.Clone(patterns)
		case err != nil:
			e.Name = unknownFact[string](err)
		default:
			e.Name, e.NotMatching = KnownFact(name), nil
		}
	}
	if needs.Facts.Has(FactEnvironmentProtected) && e.Name.Known && !e.Protected.isSettled() {
		isProtected, err := l.source.EnvironmentProtected(ctx, j)
		if err != nil {
			e.Protected = unknownFact[bool](err)
		} else {
			e.Protected = KnownFact(isProtected)
		}
	}
}

// why is the reason of an error that is definite; empty for trouble, which may be over a moment later.
func why(err error) string {
	var unlearnable *UnlearnableError
	if errors.As(err, &unlearnable) {
		return unlearnable.Why
	}
	return ""
}

func unknownFact[T any](err error) Fact[T] {
	var unlearnable *UnlearnableError
	if errors.As(err, &unlearnable) {
		return Fact[T]{Why: unlearnable.Why, Refused: unlearnable.Refused}
	}
	return Fact[T]{}
}

// withFactsOf adds what an earlier answer about the same job has learned.
func (j *Job) withFactsOf(before *Job) *Job {
	merged := *j
	merged.Ref, merged.PipelineSource = before.Ref, before.PipelineSource
	merged.Commit, merged.URL = before.Commit, before.URL
	if e := before.Environment; e.Slug == j.Environment.Slug {
		merged.Environment.Name, merged.Environment.NotMatching, merged.Environment.Protected = e.Name, e.NotMatching, e.Protected
	}
	return &merged
}

// forgetReasons makes what could not be learned be asked for again.
func (j *Job) forgetReasons() {
	j.Ref.Why, j.Ref.ProtectionWhy, j.PipelineSource.Why = "", "", ""
	if !j.Environment.Name.Known {
		j.Environment.Name, j.Environment.NotMatching = Fact[string]{}, nil
	}
	if !j.Environment.Protected.Known {
		j.Environment.Protected = Fact[bool]{}
	}
}

// ExplainMissing gives every fact that is not known, and has no reason, this one.
func (j *Job) ExplainMissing(why string) {
	missing(&j.Groups, why)
	missing(&j.Roles, why)
	missing(&j.Environment.Name, why)
	missing(&j.Environment.Protected, why)
	missing(&j.PipelineSource, why)
	if j.Ref.Name == "" && j.Ref.Why == "" {
		j.Ref.Why = why
	}
	if j.needsProtection() {
		j.Ref.ProtectionWhy = why
	}
}

func missing[T any](f *Fact[T], why string) {
	if !f.isSettled() {
		f.Why = why
	}
}

func (j *Job) hasDetails() bool { return j.Ref.Name != "" || j.Ref.Why != "" }

func (j *Job) needsProtection() bool {
	return j.Ref.Protection == ProtectionUnknown && j.Ref.ProtectionWhy == ""
}

// knowsEnvironment says whether nothing is left to ask about the environment.
func (j *Job) knowsEnvironment(needs Needs) bool {
	e := &j.Environment
	if needs.Facts.Has(FactEnvironmentProtected) && e.Name.Known && !e.Protected.isSettled() {
		return false
	}
	return !needs.wholeName(e) && (e.Name.isSettled() || !slices.ContainsFunc(needs.Environments, e.MayMatch))
}

// wholeName says whether only a look at the project's environments can tell.
func (n *Needs) wholeName(e *Environment) bool {
	return !e.Name.isSettled() && (n.AnyEnvironment || slices.ContainsFunc(n.Environments, func(pattern string) bool {
		return isWildcard(pattern) && e.MayMatch(pattern)
	}))
}

func isWildcard(pattern string) bool { return strings.Contains(pattern, "*") }

// MayMatch says whether the environment's name, while it is not known, could match the pattern, as far as its slug and
// what was asked before tell. A slug begins with the first characters of its name, whatever GitLab's release made it, and
// proves no more than that. A pattern of nothing but stars needs no name.
func (e *Environment) MayMatch(pattern string) bool {
	if strings.TrimSpace(pattern) == "" || strings.Trim(pattern, "*") == "" || slices.Contains(e.NotMatching, pattern) {
		return false
	}
	if isWildcard(pattern) {
		return true
	}
	stem := slugify(pattern)
	stem = strings.TrimSuffix(stem[:min(len(stem), slugStem)], "-")
	return strings.HasPrefix(e.Slug, stem)
}
