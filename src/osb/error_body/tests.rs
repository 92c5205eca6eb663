//! Error answers as frameworks, gateways and clouds write them.

use super::*;

fn text(code: Option<&str>, message: Option<&str>) -> ErrorText {
    ErrorText { code: code.map(str::to_owned), message: message.map(str::to_owned), unreadable: None }
}

/// Who writes it, the body, the code that is found and the message.
type Row = (&'static str, &'static str, &'static str, &'static str);

const JSON: &[Row] = &[
    ("OSB", r#"{"error":"ConcurrencyError","description":"in progress"}"#, "ConcurrencyError", "in progress"),
    ("OSB, code only", r#"{"error":"AsyncRequired"}"#, "AsyncRequired", ""),
    ("OSB of Go without tags", r#"{"Error":"Bad","Description":"no such plan"}"#, "Bad", "no such plan"),
    ("brokerapi (Go)", r#"{"description":"instance already exists"}"#, "", "instance already exists"),
    ("empty fields beside another", r#"{"error":"","description":"","message":"no quota"}"#, "", "no quota"),
    (
        "Spring Boot",
        r#"{"timestamp":"2026-01-01T00:00:00.000+00:00","status":400,"error":"Bad Request","message":"the plan is sold out","path":"/v2/service_instances/i"}"#,
        "Bad Request",
        "the plan is sold out",
    ),
    (
        "Spring Boot without message",
        r#"{"timestamp":1700000000,"status":404,"error":"Not Found","path":"/v2/catalog"}"#,
        "Not Found",
        "",
    ),
    (
        "Spring Boot, validation",
        r#"{"status":400,"error":"Bad Request","message":"Validation failed","errors":[{"codes":["NotNull"],"defaultMessage":"must not be null","field":"plan_id","rejectedValue":"hunter2"}]}"#,
        "Bad Request",
        "Validation failed: plan_id: must not be null",
    ),
    (
        "Problem Details (RFC 9457)",
        r#"{"type":"https://example.com/probs/out-of-credit","title":"You do not have enough credit.","status":403,"detail":"Your balance is 30, the cost is 50.","instance":"/a/1"}"#,
        "",
        "You do not have enough credit.: Your balance is 30, the cost is 50.",
    ),
    (
        "Problem Details, title only",
        r#"{"type":"about:blank","title":"Conflict","status":409}"#,
        "",
        "Conflict",
    ),
    (
        "Problem Details, invalid-params",
        r#"{"title":"Your request did not validate.","invalid-params":[{"name":"size","reason":"must be positive"}]}"#,
        "",
        "Your request did not validate.: size: must be positive",
    ),
    (
        "ASP.NET Core",
        r#"{"type":"https://tools.ietf.org/html/rfc9110#section-15.5.1","title":"One or more validation errors occurred.","status":400,"traceId":"00-1","errors":{"PlanId":["The PlanId field is required."]}}"#,
        "",
        "One or more validation errors occurred.: PlanId: The PlanId field is required.",
    ),
    (
        "Google",
        r#"{"error":{"code":400,"message":"Invalid size","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.BadRequest"}]}}"#,
        "INVALID_ARGUMENT",
        "Invalid size",
    ),
    (
        "Google, older",
        r#"{"error":{"errors":[{"domain":"global","reason":"required","message":"Login Required"}],"code":401,"message":"Login Required"}}"#,
        "",
        "Login Required",
    ),
    ("AWS API Gateway", r#"{"message":"Limit Exceeded"}"#, "", "Limit Exceeded"),
    (
        "AWS",
        r#"{"Message":"User is not authorized to access this resource"}"#,
        "",
        "User is not authorized to access this resource",
    ),
    (
        "AWS JSON 1.1",
        r#"{"__type":"com.amazonaws.dynamodb#ThrottlingException","message":"Rate exceeded"}"#,
        "ThrottlingException",
        "Rate exceeded",
    ),
    (
        "AWS Lambda",
        r#"{"errorMessage":"division by zero","errorType":"ZeroDivisionError","stackTrace":[["a.py",1]]}"#,
        "",
        "division by zero",
    ),
    (
        "Azure",
        r#"{"error":{"code":"ResourceNotFound","message":"The Resource was not found."}}"#,
        "ResourceNotFound",
        "The Resource was not found.",
    ),
    (
        "Azure, OData",
        r#"{"odata.error":{"code":"Request_BadRequest","message":{"lang":"en","value":"Invalid value."}}}"#,
        "Request_BadRequest",
        "Invalid value.",
    ),
    (
        "JSON:API",
        r#"{"errors":[{"status":"422","source":{"pointer":"/data"},"title":"Invalid Attribute","detail":"The name is too short."}]}"#,
        "",
        "Invalid Attribute: The name is too short.",
    ),
    (
        "Rails, list",
        r#"{"errors":["Name can't be blank","Size is too small"]}"#,
        "",
        "Name can't be blank; Size is too small",
    ),
    (
        "Rails, fields",
        r#"{"errors":{"name":["can't be blank","is too short"]}}"#,
        "",
        "name: can't be blank; is too short",
    ),
    ("Rails, default", r#"{"status":500,"error":"Internal Server Error"}"#, "Internal Server Error", ""),
    (
        "Laravel",
        r#"{"message":"The given data was invalid.","errors":{"plan":["The plan is required."]}}"#,
        "",
        "The given data was invalid.: plan: The plan is required.",
    ),
    ("Phoenix", r#"{"errors":{"detail":"Not Found"}}"#, "", "Not Found"),
    (
        "Django REST",
        r#"{"detail":"Authentication credentials were not provided."}"#,
        "",
        "Authentication credentials were not provided.",
    ),
    (
        "Django REST, fields",
        r#"{"plan_id":["This field is required."],"space_guid":["Too long."]}"#,
        "",
        "plan_id: This field is required.; space_guid: Too long.",
    ),
    (
        "FastAPI",
        r#"{"detail":[{"loc":["body","plan_id"],"msg":"field required","type":"value_error.missing"},{"loc":["body",0],"msg":"not a list","type":"list_type","input":"hunter2"}]}"#,
        "",
        "body.plan_id: field required; body.0: not a list",
    ),
    ("Express", r#"{"error":{"message":"no such plan"}}"#, "", "no such plan"),
    ("Express, success flag", r#"{"success":false,"error":"no such plan"}"#, "no such plan", ""),
    (
        "Cloud Foundry v2",
        r#"{"code":10003,"description":"You are not authorized to perform the requested action","error_code":"CF-NotAuthorized"}"#,
        "CF-NotAuthorized",
        "You are not authorized to perform the requested action",
    ),
    (
        "Cloud Foundry v3",
        r#"{"errors":[{"code":10008,"title":"CF-UnprocessableEntity","detail":"The plan is not visible."}]}"#,
        "",
        "CF-UnprocessableEntity: The plan is not visible.",
    ),
    (
        "Kubernetes",
        r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"pods \"x\" not found","reason":"NotFound","code":404}"#,
        "NotFound",
        "pods \"x\" not found",
    ),
    (
        "Kong",
        r#"{"message":"no Route matched with those values","request_id":"1"}"#,
        "",
        "no Route matched with those values",
    ),
    ("gRPC gateway", r#"{"code":3,"message":"invalid argument","details":[]}"#, "", "invalid argument"),
    (
        "Apigee",
        r#"{"fault":{"faultstring":"Invalid ApiKey","detail":{"errorcode":"oauth.v2.InvalidApiKey"}}}"#,
        "",
        "Invalid ApiKey",
    ),
    (
        "GraphQL",
        r#"{"errors":[{"message":"Cannot query field","locations":[{"line":1}],"path":["a"]}],"data":null}"#,
        "",
        "Cannot query field",
    ),
    (
        "OAuth 2.0",
        r#"{"error":"invalid_token","error_description":"The token expired"}"#,
        "invalid_token",
        "The token expired",
    ),
    (
        "Elasticsearch",
        r#"{"error":{"root_cause":[{"type":"x"}],"type":"index_not_found_exception","reason":"no such index"},"status":404}"#,
        "index_not_found_exception",
        "no such index",
    ),
    ("CouchDB", r#"{"error":"not_found","reason":"missing"}"#, "not_found", "missing"),
    ("Vault", r#"{"errors":["permission denied"]}"#, "", "permission denied"),
    (
        "Docker registry",
        r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required","detail":[{"Type":"repository"}]}]}"#,
        "UNAUTHORIZED",
        "authentication required",
    ),
    (
        "Micronaut",
        r#"{"message":"Bad Request","_links":{"self":{"href":"/"}},"_embedded":{"errors":[{"message":"plan_id is required"}]}}"#,
        "",
        "Bad Request: plan_id is required",
    ),
    (
        "Symfony",
        r#"{"@type":"hydra:Error","hydra:title":"An error","hydra:description":"No such item"}"#,
        "",
        "No such item",
    ),
    (
        "Quarkus",
        r#"{"details":"Error id 1, no database","stack":"java.lang.X"}"#,
        "",
        "Error id 1, no database",
    ),
    ("SAP", r#"{"error":{"code":"BSN/1","message":{"lang":"en","value":"No contract"}}}"#, "", "No contract"),
    ("a text", r#""the plan is unknown""#, "", "the plan is unknown"),
    ("a list", r#"[{"message":"a"},{"message":"b","field":"c"}]"#, "", "a; c: b"),
];

const OTHERS: &[Row] = &[
    (
        "nginx",
        "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><center><h1>502 Bad Gateway</h1></center>",
        "",
        "(an HTML page: 502 Bad Gateway)",
    ),
    (
        "Tomcat",
        "<!doctype html><html lang=\"en\"><head><title>HTTP Status 400 – Bad Request</title><style>h1 {}</style></head><body><h1>HTTP Status 400</h1>",
        "",
        "(an HTML page: HTTP Status 400 – Bad Request)",
    ),
    (
        "Express, page",
        "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"></head><body><pre>Cannot PUT /v2/x&#39;y<br> &nbsp; at a</pre></body></html>",
        "",
        "(an HTML page: Cannot PUT /v2/x'y    at a)",
    ),
    ("a page without words", " <!DOCTYPE html>…", "", "(an HTML page)"),
    (
        "S3",
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchBucket</Code><Message>The bucket &quot;b&quot; does not exist</Message><RequestId>1</RequestId></Error>",
        "NoSuchBucket",
        "The bucket \"b\" does not exist",
    ),
    (
        "AWS, query",
        "<ErrorResponse xmlns=\"http://x/\"><Error><Type>Sender</Type><Code>InvalidParameterValue</Code><Message>No such class</Message></Error></ErrorResponse>",
        "InvalidParameterValue",
        "No such class",
    ),
    (
        "SOAP",
        "<soap:Envelope><soap:Body><soap:Fault><faultcode>soap:Server</faultcode><faultstring xml:lang=\"en\">No stock</faultstring></soap:Fault>",
        "soap:Server",
        "No stock",
    ),
    ("XML without words", "<?xml version=\"1.0\"?><a/>", "", "(an XML document)"),
];

// OSB 33
#[test]
fn code_and_message_are_found_in_every_usual_form() {
    let some = |text: &'static str| Some(text).filter(|text| !text.is_empty());
    let rows = JSON.iter().chain(OTHERS);
    let wrong: Vec<_> = rows
        .map(|(author, body, code, message)| {
            (author, read(body.as_bytes(), true), text(some(code), some(message)))
        })
        .filter(|(_, found, expected)| found != expected)
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

// OSB 33
#[test]
fn of_answers_that_may_hold_credentials_only_the_named_fields_are_read() {
    for (author, body, code, message) in JSON.iter().take(JSON.len() - 2) {
        let found = read(body.as_bytes(), false);
        let some = |text: &'static str| Some(text).filter(|text| !text.is_empty());
        if author.ends_with("REST, fields") {
            assert_eq!(found, ErrorText::default(), "the names are the broker's own");
        } else {
            assert_eq!(found, text(some(code), some(message)), "{author}");
        }
    }
    for body in [
        "hunter2",
        "\"hunter2\"",
        "[\"hunter2\"]",
        "<html><title>hunter2</title>",
        "<Message>hunter2</Message>",
        r#"{"credentials":{"password":"hunter2"}}"#,
        r#"{"password":["hunter2"]}"#,
        r#"{"data":{"message":"hunter2"}}"#,
        "{\"password\":\"hunter2\"",
    ] {
        assert_eq!(read(body.as_bytes(), false), ErrorText::default(), "{body}");
    }
}

// OSB 33
#[test]
fn a_body_that_cannot_be_read_is_returned_for_quotation() {
    for (body, quoted) in [
        ("404 page not found\n", "404 page not found\n"),
        (
            "upstream connect error or disconnect/reset before headers. reset reason: connection failure",
            "upstream connect error or disconnect/reset before headers. reset reason: connection failure",
        ),
        (r#"{"foo":"a \"b\"","n":{"x":[1,null]}}"#, "{foo: a \"b\", n: {x: [1, null]}}"),
        (r#"{"message":7,"error":null}"#, "{message: 7, error: null}"),
        ("{\"message\":\"cut", "{\"message\":\"cut"),
        ("null", "null"),
        ("[]", "[]"),
    ] {
        let found = read(body.as_bytes(), true);
        assert_eq!(
            found,
            ErrorText { unreadable: Some(quoted.to_owned()), ..ErrorText::default() },
            "{body}"
        );
    }
    for body in ["", " \n", "{}", r#"{"instance_usable":false,"update_repeatable":true}"#] {
        assert_eq!(read(body.as_bytes(), true), ErrorText::default(), "{body}");
    }
}

#[test]
fn errors_within_errors_and_endless_lists_have_an_end() {
    let deep = format!("{}\"x\"{}", r#"{"error":"#.repeat(100), "}".repeat(100));
    assert!(read(deep.as_bytes(), false) == ErrorText::default());
    let many = serde_json::json!({ "errors": vec!["x"; 10_000] }).to_string();
    assert_eq!(read(many.as_bytes(), true).message.as_deref(), Some("x; x; x; x; x"));
    let tags = "<p".repeat(100_000);
    assert_eq!(read(tags.as_bytes(), true).message.as_deref(), Some("(an XML document)"));
}
