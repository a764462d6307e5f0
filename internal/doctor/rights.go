package doctor

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
)

// commonRights are what deployments mostly do.
func commonRights(namespace string) []Right {
	rights := []Right{
		{Verb: "get", Resource: "pods"},
		{Verb: "list", Resource: "pods"},
		{Verb: "create", Group: "apps", Resource: "deployments"},
		{Verb: "update", Group: "apps", Resource: "deployments"},
		{Verb: "patch", Group: "apps", Resource: "deployments"},
		{Verb: "create", Resource: "services"},
		{Verb: "create", Resource: "configmaps"},
		{Verb: "get", Resource: "secrets"},
		{Verb: "create", Resource: "secrets"},
	}
	for i := range rights {
		rights[i].Namespace = namespace
	}
	return rights
}

// String is the right as kubectl auth can-i has it.
func (r *Right) String() string {
	if r.Group == "" {
		return r.Verb + " " + r.Resource
	}
	return r.Verb + " " + r.Resource + "." + r.Group
}

// checkRights asks what the job may do in its namespace.
func (e *examination) checkRights(ctx context.Context) Finding {
	f := Finding{Name: "rights"}
	if e.api == nil {
		return f.notChecked("the API server has not said who the job is")
	}
	namespace := cmp.Or(e.Namespace, e.subject.namespace, defaultNamespace)
	for _, right := range commonRights(namespace) {
		status, err := e.api.mayI(ctx, authorizationv1.ResourceAttributes{
			Verb: right.Verb, Group: right.Group, Resource: right.Resource, Namespace: namespace,
		})
		if err != nil {
			f.State = Warning
			f.What, f.Do = e.explainAPI(err)
			f.What = fmt.Sprintf("whether it may %s cannot be told: %s", &right, f.What)
			return f
		}
		right.Allowed, right.Reason = status.Allowed, e.line(status.Reason)
		e.report.Rights = append(e.report.Rights, right)
	}
	return e.summarize(f, namespace)
}

// summarize says what the rights amount to. What a job needs is its author's to know, so only a job that may do nothing
// at all, or that jobgate denies something, is worth a warning.
func (e *examination) summarize(f Finding, namespace string) Finding {
	var may, mayNot []string
	denied := false
	for _, r := range e.report.Rights {
		if r.Allowed {
			may = append(may, r.String())
			continue
		}
		mayNot = append(mayNot, r.String())
		if strings.HasPrefix(r.Reason, jobgateSays) {
			denied = true
			f.Details = append(f.Details, fmt.Sprintf("%s: %s", &r, r.Reason))
		}
	}
	f.State = OK
	f.What = fmt.Sprintf("in namespace %s the job may %s", e.quote(namespace), orNothing(may))
	if len(mayNot) > 0 {
		f.What += "; it may not " + strings.Join(mayNot, ", ")
	}
	switch {
	case denied:
		f.State, f.Do = Warning, "jobgate's reasons say what would satisfy them; docs/troubleshooting.md has each one"
	case len(may) == 0:
		f.State = Warning
		f.Do = askAdmin + "a RoleBinding in the namespace, for the user or one of the groups above"
	}
	return f
}

func orNothing(rights []string) string {
	if len(rights) == 0 {
		return "do nothing of what deployments mostly do"
	}
	return strings.Join(rights, ", ")
}
