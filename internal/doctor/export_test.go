package doctor

// ExplainGitLab is pure, and its cases take GitLab's client seconds each to meet.
var ExplainGitLab = explainGitLab

// DescribeCertificate is pure, and its cases are certificates of any age.
var DescribeCertificate = describeCertificate
