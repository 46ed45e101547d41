use axum::body::to_bytes;
use serde_json::json;

use super::*;

#[derive(Serialize)]
struct Queue {
    name: String,
    vhost: &'static str,
    messages: u64,
    stats: Stats,
}

#[derive(Serialize)]
struct Stats {
    rate: f64,
    other: u64,
}

impl Row for Queue {
    fn name(&self) -> &str {
        &self.name
    }

    fn group(&self) -> &str {
        self.vhost
    }
}

fn queues() -> Vec<Queue> {
    let queue = |name: &str, vhost, messages, rate| Queue {
        name: name.into(),
        vhost,
        messages,
        stats: Stats { rate, other: 7 },
    };
    vec![
        queue("orders", "b", 10, 0.5),
        queue("bills", "b", 9, 2.0),
        queue("Orders.2", "a", 100, 1.0),
    ]
}

async fn body(query: &str) -> Value {
    let response = list(queues(), &Query::parse(query)).unwrap();
    let bytes = to_bytes(response.into_body(), 10_000).await.unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

async fn names(query: &str) -> Vec<String> {
    let body = body(query).await;
    let items = body.get("items").unwrap_or(&body).as_array().unwrap();
    items
        .iter()
        .map(|item| item["name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "current_thread")]
async fn list_is_in_the_order_of_vhosts_and_names() {
    assert_eq!(names("").await, ["Orders.2", "bills", "orders"]);
    assert_eq!(
        names("sort_reverse=true").await,
        ["orders", "bills", "Orders.2"]
    );
}

#[tokio::test(flavor = "current_thread")]
async fn list_is_sorted_by_numbers_as_numbers_and_by_inner_fields() {
    assert_eq!(
        names("sort=messages").await,
        ["bills", "orders", "Orders.2"]
    );
    assert_eq!(
        names("sort=stats.rate").await,
        ["orders", "Orders.2", "bills"]
    );
    assert_eq!(
        names("sort=stats.rate&sort_reverse=true").await,
        ["bills", "Orders.2", "orders"]
    );
    assert_eq!(names("sort=nothing.there").await.len(), 3);
}

#[tokio::test(flavor = "current_thread")]
async fn columns_keep_inner_fields_and_nothing_else() {
    let picked = body("columns=name,stats.rate,absent&sort=messages").await;
    assert_eq!(picked[0], json!({"name": "bills", "stats": {"rate": 2.0}}));
}

#[tokio::test(flavor = "current_thread")]
async fn page_says_how_many_there_are() {
    let page = body("page=2&page_size=2").await;
    let counts = json!({
        "filtered_count": 3, "item_count": 1, "page": 2, "page_count": 2, "page_size": 2, "total_count": 3,
        "items": page["items"],
    });
    assert_eq!(page, counts);
    assert_eq!(page["items"][0]["name"], "orders");
}

#[tokio::test(flavor = "current_thread")]
async fn names_are_filtered_on_pages_only() {
    assert_eq!(names("page=1&name=order").await, ["Orders.2", "orders"]);
    assert_eq!(
        names("page=1&name=^order.$&use_regex=true").await,
        ["orders"]
    );
    assert_eq!(names("name=order").await.len(), 3);
    let empty = body("page=1&name=zzz").await;
    assert_eq!(
        (&empty["page_count"], &empty["items"]),
        (&json!(0), &json!([]))
    );
}

#[test]
fn bad_pages_are_refused_in_the_words_of_rabbitmq() {
    let fault = |query: &str| list(queues(), &Query::parse(query)).unwrap_err().reason();
    assert_eq!(fault("page=x"), "Pagination parameters are invalid");
    let of =
        |page, size| format!("Invalid pagination parameters: page number {page}, page size {size}");
    assert_eq!(fault("page=0"), of("0", "undefined"));
    assert_eq!(fault("page=1&page_size=501"), of("1", "501"));
    assert_eq!(fault("page=1&page_size=0"), of("1", "0"));
    assert_eq!(
        fault("page=2"),
        "Page out of range, page: 2 page size: 100, len: 3"
    );
    assert_eq!(
        fault("page=1&name=(&use_regex=true"),
        "Pagination parameters are invalid"
    );
    assert!(list(queues(), &Query::parse("page=1&page_size=500")).is_ok());
}
